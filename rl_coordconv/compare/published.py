"""Published scores: a human's and a random player's, and others' A2C and PPO."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rl_coordconv.runs.config import read_yaml


@dataclass(frozen=True)
class PublishedScore:
    """One published score.

    Attributes:
        algorithm: As ``a2c``.
        game: As ``MsPacman``.
        score: Mean, unclipped, whole games, after 10M agent steps (40M frames).
        source: Who published it, and where.
        how: How it was measured.
        spread: The number after +/-; None without one.
        protocol: ``classic`` or ``sticky``.
    """

    algorithm: str
    game: str
    score: float
    source: str
    how: str
    spread: float | None = None
    protocol: str = "classic"

    @property
    def address(self) -> str:
        """The source's address."""
        addresses: dict[str, str] = _DATA["addresses"]
        return next(url for name, url in addresses.items() if self.source.startswith(name))


_DATA = read_yaml(Path(__file__).with_name("published.yaml"))
PUBLISHED = tuple(PublishedScore(**entry) for entry in _DATA["scores"])
HUMAN_AND_RANDOM: dict[str, tuple[float, float]] = _DATA["human_and_random"]
"""By game, a random player's and a human's score."""


def published_scores(algorithm: str, game: str) -> list[PublishedScore]:
    """Return the published scores of an algorithm in a game."""
    return [p for p in PUBLISHED if (p.algorithm, p.game) == (algorithm, game)]


def human_normalised(game: str, score: float) -> float:
    """Scale a score to 0 for a random player and 1 for a human; KeyError without their scores.

    >>> human_normalised("MsPacman", 6951.6)
    1.0
    """
    random, human = HUMAN_AND_RANDOM[game]
    return (score - random) / (human - random)
