"""Several games in one number: human-normalised scores of every arm that played them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rl_coordconv.compare.comparison import Comparison
from rl_coordconv.compare.published import HUMAN_AND_RANDOM, human_normalised
from rl_coordconv.compare.results import Array
from rl_coordconv.compare.statistics import (
    Interval,
    aggregates,
    difference,
    performance_profile,
)
from rl_coordconv.compare.variants import Style


@dataclass(frozen=True)
class ArmOverGames:
    """One arm's scores in several games: 0 a random player, 1 a human.

    Attributes:
        name: The arm.
        style: How it is drawn.
        scores: By game, one score per seed ``[seeds]``.
    """

    name: str
    style: Style
    scores: dict[str, Array]

    @cached_property
    def matrix(self) -> Array:
        """``[seeds, games]``: each game's first seeds, as many as every game has."""
        seeds = min(map(len, self.scores.values()))
        return np.column_stack([values[:seeds] for values in self.scores.values()])

    @cached_property
    def aggregates(self) -> dict[str, Interval]:
        """IQM, median, mean and optimality gap."""
        return aggregates(self.matrix)

    def mean_difference(self, other: ArmOverGames, level: float) -> Interval:
        """How much higher this arm's mean over games is, with its interval of that level."""
        return difference(other.matrix, self.matrix, level)

    def profile(self, thresholds: Array) -> tuple[Array, Array, Array]:
        """The share of runs above each threshold, and its interval."""
        return performance_profile(self.matrix, thresholds)


@dataclass(frozen=True)
class OverGames:
    """The arms of one algorithm over the games that all of them played."""

    algorithm: str
    protocol: str
    games: tuple[str, ...]
    arms: tuple[ArmOverGames, ...]
    notes: tuple[str, ...]


def over_games(comparisons: Sequence[Comparison]) -> list[OverGames]:
    """Sum up every algorithm and protocol with two games or more whose human score is known."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.game in HUMAN_AND_RANDOM:
            groups.setdefault((comparison.algorithm, comparison.protocol), []).append(comparison)
    found = [_sum_up(*key, group) for key, group in groups.items() if len(group) > 1]
    return [summary for summary in found if summary]


def _sum_up(algorithm: str, protocol: str, group: Sequence[Comparison]) -> OverGames | None:
    scores: dict[str, dict[str, Array]] = {}
    style: dict[str, Style] = {}
    for comparison in group:
        # All arms at one step, or a game would count for how long it was trained.
        step = min(arm.step for arm in comparison.arms)
        for arm in comparison.arms:
            values = arm.scores("training", step)
            if len(values):
                normalised = [human_normalised(comparison.game, value) for value in values]
                scores.setdefault(arm.name, {})[comparison.game] = np.array(normalised)
                style[arm.name] = arm.style
    names, games = _complete(scores)
    if len(games) < 2:
        return None
    notes = [
        f"{name} did not play all of these games and is left out here."
        for name in scores
        if name not in names
    ]
    others = sorted({game for played in scores.values() for game in played} - set(games))
    if others:
        notes.append(f"Not every arm has played {', '.join(others)}, left out here.")
    arms = tuple(
        ArmOverGames(n, style[n], {game: scores[n][game] for game in games}) for n in names
    )
    for over in arms:
        seeds = {game: len(values) for game, values in over.scores.items()}
        if len(set(seeds.values())) > 1:
            notes.append(
                f"{over.name} has {min(seeds.values())} to {max(seeds.values())} seeds per game;"
                f" the first {min(seeds.values())} of each count here."
            )
    return OverGames(algorithm, protocol, games, arms, tuple(notes))


def _complete(scores: Mapping[str, Mapping[str, Array]]) -> tuple[list[str], tuple[str, ...]]:
    """The games that all arms played; where these are no two, the arms that played the most."""
    if not scores:
        return [], ()
    common = set.intersection(*(set(played) for played in scores.values()))
    if len(common) > 1:
        return list(scores), tuple(sorted(common))
    most = max(scores.values(), key=len)
    return [name for name in scores if scores[name].keys() == most.keys()], tuple(sorted(most))
