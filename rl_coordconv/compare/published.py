"""Published scores of A2C and PPO, and scores of humans and of a random agent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rl_coordconv.runs.config import read_yaml


@dataclass(frozen=True)
class PublishedScore:
    """One published score.

    Attributes:
        algorithm: Such as ``a2c``.
        game: Such as ``MsPacman``.
        score: Mean of whole games, unclipped, after 10M agent steps (40M frames).
        source: Who published it and where.
        how: How it was measured.
        spread: The number after +/- in the source; None if there is none.
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
"""The scores of a random agent and of a human by game."""


def published_scores(algorithm: str, game: str) -> list[PublishedScore]:
    """Return the published scores of an algorithm in a game."""
    return [p for p in PUBLISHED if (p.algorithm, p.game) == (algorithm, game)]


def human_normalised(game: str, score: float) -> float:
    """Scale a score to 0 for a random agent and 1 for a human.

    Raises:
        KeyError: Their scores in the game are not known.

    >>> human_normalised("MsPacman", 6951.6)
    1.0
    """
    random, human = HUMAN_AND_RANDOM[game]
    return (score - random) / (human - random)
