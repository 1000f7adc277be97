"""Compare variants over several games by their human-normalised scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rl_coordconv.compare.comparison import Comparison
from rl_coordconv.compare.published import HUMAN_AND_RANDOM, human_normalised
from rl_coordconv.compare.results import Array
from rl_coordconv.compare.statistics import Interval, aggregates, difference
from rl_coordconv.runs.results import Style


@dataclass(frozen=True)
class VariantOverGames:
    """A variant's scores in several games, scaled to 0 for a random agent and 1 for a human.

    Attributes:
        name: The variant.
        style: Its colour, line and marker.
        scores: Scores ``[seeds]`` by game.
    """

    name: str
    style: Style
    scores: dict[str, Array]

    @cached_property
    def matrix(self) -> Array:
        """Scores ``[seeds, games]``; seeds that not every game has are dropped."""
        seeds = min(map(len, self.scores.values()))
        return np.column_stack([values[:seeds] for values in self.scores.values()])

    @cached_property
    def aggregates(self) -> dict[str, Interval]:
        """IQM, median, mean and optimality gap, with intervals."""
        return aggregates(self.matrix)

    def mean_difference(self, other: VariantOverGames, level: float) -> Interval:
        """Return the difference of means over games, this - other."""
        return difference(other.matrix, self.matrix, level)


@dataclass(frozen=True)
class OverGames:
    """The variants of one algorithm over the games that all of them played."""

    algorithm: str
    protocol: str
    games: tuple[str, ...]
    variants: tuple[VariantOverGames, ...]
    notes: tuple[str, ...]


def over_games(comparisons: Sequence[Comparison]) -> list[OverGames]:
    """Summarise each algorithm and protocol with two or more games whose human score is known."""
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.game in HUMAN_AND_RANDOM:
            groups.setdefault((comparison.algorithm, comparison.protocol), []).append(comparison)
    found = [_summarise(*key, group) for key, group in groups.items() if len(group) > 1]
    return [summary for summary in found if summary]


def _summarise(algorithm: str, protocol: str, group: Sequence[Comparison]) -> OverGames | None:
    scores: dict[str, dict[str, Array]] = {}
    for comparison in group:
        # All variants at the same step, so that longer training is no advantage.
        step = min(variant.step for variant in comparison.variants)
        for variant in comparison.variants:
            values = variant.scores("training", step)
            if len(values) and variant.has_enough_games("training", step):
                normalised = [human_normalised(comparison.game, value) for value in values]
                scores.setdefault(variant.name, {})[comparison.game] = np.array(normalised)
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
        notes.append(f"Left out here, as not every variant played it: {', '.join(others)}.")
    style_of = {variant.name: variant.style for c in group for variant in c.variants}
    over = [
        VariantOverGames(name, style_of[name], {game: scores[name][game] for game in games})
        for name in names
    ]
    for own in over:
        seeds = [len(values) for values in own.scores.values()]
        if min(seeds) < max(seeds):
            notes.append(
                f"{own.name} has {min(seeds)} to {max(seeds)} seeds per game;"
                f" only the first {min(seeds)} of each game are used here."
            )
    return OverGames(algorithm, protocol, games, tuple(over), tuple(notes))


def _complete(scores: Mapping[str, Mapping[str, Array]]) -> tuple[list[str], tuple[str, ...]]:
    """Return variants and games of which every combination has scores.

    These are all variants and the games that they share, or, if they share fewer than two games,
    the variants with the most games.
    """
    if not scores:
        return [], ()
    common = set.intersection(*(set(played) for played in scores.values()))
    if len(common) > 1:
        return list(scores), tuple(sorted(common))
    most = max(scores.values(), key=len)
    return [name for name in scores if scores[name].keys() == most.keys()], tuple(sorted(most))
