"""Group runs into variants, and variants into a comparison per algorithm, game and protocol."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rl_coordconv.compare.results import GAMES_PER_SCORE, Array, Measure, RunResult
from rl_coordconv.compare.statistics import (
    MIN_SEEDS,
    Interval,
    difference,
    level_of_each,
    mean_interval,
    probability_of_improvement,
    seeds_needed,
)
from rl_coordconv.runs.config import UserError, nearest
from rl_coordconv.runs.results import Style, styles

# Functions that return a run's score at a step.
MEASURES: dict[Measure, Callable[[RunResult, float], float]] = {
    "training": RunResult.final_score,
    "evaluation": RunResult.evaluation_score,
    "area": RunResult.mean_score,
}
MIN_GAMES: dict[Measure, int] = {"training": 20, "evaluation": 5, "area": 20}
"""The fewest games per seed for a confidence interval."""
_LISTED = 2  # folders named beside a note that they share; more are only counted
_NEARLY = 0.95  # of the median step: a run that reached it is included
_ALL_PAIRS = 4  # with more variants, each is compared with the first only


@dataclass(frozen=True)
class Variant:
    """Runs that differ only in their seed."""

    name: str
    style: Style
    runs: tuple[RunResult, ...]

    @cached_property
    def step(self) -> float:
        """The step at which the variant is compared: the lowest last step within 5% of the median.

        Runs that are further behind are left out.
        """
        reached = sorted(run.last_step for run in self.runs)
        middle = reached[len(reached) // 2]
        return min(step for step in reached if step >= _NEARLY * middle)

    def at(self, step: float) -> tuple[RunResult, ...]:
        """Return the runs that reached a step."""
        return tuple(run for run in self.runs if run.last_step >= step)

    def n_games(self, measure: Measure, step: float) -> list[int]:
        """Return the number of games that each seed's score averages, in ascending order."""
        counts = (run.n_games(measure, step) for run in self.at(step))
        return sorted(count for count in counts if count)

    def has_enough_games(self, measure: Measure, step: float) -> bool:
        """Return whether every seed has enough games for an interval."""
        return min(self.n_games(measure, step), default=0) >= MIN_GAMES[measure]

    def mean(self, measure: Measure, step: float) -> Interval:
        """Return the mean over seeds, with an interval if there are enough games."""
        estimate = mean_interval(self.scores(measure, step))
        return estimate if self.has_enough_games(measure, step) else Interval(estimate.value)

    def scores(self, measure: Measure, step: float) -> Array:
        """Return the scores ``[runs]`` of the runs that reached a step, without unknown ones."""
        values = np.array([MEASURES[measure](run, step) for run in self.at(step)], dtype=float)
        return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True)
class Pair:
    """The difference second - first of two variants.

    Attributes:
        first: The reference.
        second: The variant that is compared with it.
        n_pairs: The number of comparisons that the intervals are adjusted for (Bonferroni).
    """

    first: Variant
    second: Variant
    n_pairs: int = 1

    @property
    def level(self) -> float:
        """The confidence level of each interval."""
        return level_of_each(self.n_pairs)

    @property
    def name(self) -> str:
        """The name, such as ``coordconv - nature``."""
        return f"{self.second.name} - {self.first.name}"

    @property
    def step(self) -> float:
        """The step at which they are compared: the lower of the two."""
        return min(self.first.step, self.second.step)

    def scores(self, measure: Measure) -> tuple[Array, Array]:
        """Return the scores of each variant, one per seed."""
        return self.first.scores(measure, self.step), self.second.scores(measure, self.step)

    @property
    def has_enough_seeds(self) -> bool:
        """Whether both have enough seeds for a conclusion."""
        return min(map(len, self.scores("training"))) >= MIN_SEEDS

    def has_enough_games(self, measure: Measure = "training") -> bool:
        """Return whether the seeds of both have enough games for an interval."""
        return all(v.has_enough_games(measure, self.step) for v in (self.first, self.second))

    @property
    def is_enough(self) -> bool:
        """Whether both have enough seeds and games for a conclusion."""
        return self.has_enough_seeds and self.has_enough_games()

    def difference(self, measure: Measure) -> Interval:
        """Return the difference in a measure, with an interval if there are enough games."""
        estimate = difference(*self.scores(measure), self.level)
        return estimate if self.has_enough_games(measure) else Interval(estimate.value)

    def over_training(self, steps: Array) -> list[Interval]:
        """Return the difference in training scores at each step of ``[steps]``."""
        first = _scores_over(self.first.at(self.step), steps)
        second = _scores_over(self.second.at(self.step), steps)
        return [difference(first[:, i], second[:, i], self.level) for i in range(len(steps))]

    def probability(self) -> Interval:
        """Return the probability that a seed of the second beats one of the first."""
        estimate = probability_of_improvement(*self.scores("training"))
        return estimate if self.has_enough_games() else Interval(estimate.value)

    def seeds_needed(self) -> int | None:
        """Return the seeds per variant needed to detect a difference of 15% with 80% power."""
        if not self.has_enough_games():
            return None
        return seeds_needed(*self.scores("training"), level=self.level)


@dataclass(frozen=True)
class Comparison:
    """The variants of one algorithm in one game under one protocol.

    If ``against`` names the first variant, the others are compared only with it.
    """

    algorithm: str
    game: str
    protocol: str
    variants: tuple[Variant, ...]
    against: str = ""

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs to compare; intervals are adjusted for the number of pairs with enough data."""
        if len(self.variants) <= _ALL_PAIRS and self.variants[0].name != self.against:
            pairs = list(itertools.combinations(self.variants, 2))
        else:
            pairs = [(self.variants[0], variant) for variant in self.variants[1:]]
        n_pairs = max(1, sum(Pair(*pair).is_enough for pair in pairs))
        return tuple(Pair(*pair, n_pairs) for pair in pairs)

    @property
    def score_to_reach(self) -> float:
        """The lowest of the variants' final mean scores, which all of them reach."""
        means = [variant.scores("training", variant.step) for variant in self.variants]
        return float(min((values.mean() for values in means if len(values)), default=np.nan))

    @property
    def notes(self) -> list[str]:
        """Caveats about the numbers, one sentence each."""
        notes = []
        for variant in self.variants:
            notes += [
                f"{run.folder} is at step {run.last_step:,.0f} and left out of the scores of"
                f" {variant.name}, which are for step {variant.step:,.0f}."
                for run in variant.runs
                if run.last_step < variant.step
            ]
            games = variant.n_games("training", variant.step)
            if games and games[0] < GAMES_PER_SCORE:
                spread = f"{games[0]} to {games[-1]}" if games[0] < games[-1] else f"{games[0]}"
                notes.append(
                    f"The seeds of {variant.name} have {spread} training games each. Their scores"
                    f" are means of these games; an interval needs at least"
                    f" {MIN_GAMES['training']}."
                )
        keys = _differing(variant.runs[0] for variant in self.variants)
        if keys := [key for key in keys if key != "extractor"]:
            notes.append(f"The variants differ in more than the network: {', '.join(keys)}.")
        folders: dict[str, list[str]] = {}
        for run in (run for variant in self.variants for run in variant.runs):
            for note in run.notes:
                folders.setdefault(note, []).append(str(run.folder))
        for note, of in folders.items():
            where = f"{len(of)} runs" if len(of) > _LISTED else ", ".join(of)
            notes.append(f"{where}: {note}.")
        return notes


def _scores_over(runs: Iterable[RunResult], steps: Array) -> Array:
    """Return the scores ``[runs, steps]`` of the runs whose games are known."""
    scores = [run.score_at(steps) for run in runs if run.steps.size]
    return np.array(scores).reshape(-1, len(steps))


def _differing(runs: Iterable[RunResult]) -> list[str]:
    """Return the names of settings that differ between runs; unknown settings are ignored."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, value in run.settings.items():
            values.setdefault(key, set()).add(repr(value))
    return sorted(key for key, found in values.items() if len(found) > 1)


def _named_by_settings(runs: Sequence[RunResult]) -> list[RunResult]:
    """Append to each variant's name the settings that differ between its runs."""
    named = []
    for run in runs:
        keys = _differing(other for other in runs if other.variant == run.variant)
        parts = [f"{key}={run.settings.get(key, 'unknown')}" for key in keys]
        named.append(replace(run, variant=", ".join([run.variant, *parts])))
    return named


def compare(runs: Sequence[RunResult], against: str | None = None) -> list[Comparison]:
    """Group runs by algorithm, game and protocol, and then by variant.

    Runs whose known settings are equal are seeds of one variant. SB3 logs of unknown protocol are
    grouped with the other runs of the game if these all have the same protocol.

    Args:
        runs: The runs.
        against: The variant to compare the others with; None compares every pair, or each with the
            first if there are more than four.

    Raises:
        UserError: There is no variant ``against``.
    """
    groups: dict[tuple[str, str, str], list[RunResult]] = {}
    for run in sorted(runs, key=lambda run: (run.from_sb3, run.seed.zfill(9))):
        groups.setdefault((run.algorithm, run.game, _protocol(run, runs)), []).append(run)
    named = {key: _named_by_settings(group) for key, group in sorted(groups.items())}
    style_of = styles(run.variant for group in named.values() for run in group)
    if against is not None and against not in style_of:
        raise UserError(f"There is no variant {against!r}; {nearest(against, style_of)}")
    order = sorted(style_of, key=lambda name: name != against)
    comparisons = []
    for key, group in named.items():
        members = {name: [run for run in group if run.variant == name] for name in order}
        variants = [Variant(n, style_of[n], tuple(own)) for n, own in members.items() if own]
        comparisons.append(Comparison(*key, tuple(variants), against or ""))
    return comparisons


def _protocol(run: RunResult, runs: Sequence[RunResult]) -> str:
    if run.protocol != "unknown":
        return run.protocol
    beside = {
        other.protocol
        for other in runs
        if (other.algorithm, other.game) == (run.algorithm, run.game)
    } - {"unknown"}
    return beside.pop() if len(beside) == 1 else "unknown"
