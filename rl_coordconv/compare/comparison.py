"""Groups runs into variants, and variants into comparisons: one per algorithm, game, protocol."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rl_coordconv.compare.results import Array, RunResult
from rl_coordconv.compare.statistics import (
    MIN_SEEDS,
    Interval,
    difference,
    level_of_each,
    probability_of_improvement,
    seeds_needed,
)
from rl_coordconv.runs.results import Style, styles

# The scores of a run at a step.
MEASURES: dict[str, Callable[[RunResult, float], float]] = {
    "training": RunResult.final_score,
    "evaluation": RunResult.evaluation_score,
    "area": RunResult.mean_score,
}
_NEARLY = 0.95  # a run that got this far counts as complete
_ALL_PAIRS = 4  # the most variants of which every pair is compared; of more, each with the first


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed only."""

    name: str
    style: Style
    runs: tuple[RunResult, ...]

    @cached_property
    def step(self) -> float:
        """The step at which the variant is compared: half of its runs have reached it.

        So a run that is behind, or has just begun, does not delay the others.
        """
        reached = sorted(run.last_step for run in self.runs)
        middle = reached[len(reached) // 2]
        return min(step for step in reached if step >= _NEARLY * middle)

    def at(self, step: float) -> tuple[RunResult, ...]:
        """Return the runs that reached a step."""
        return tuple(run for run in self.runs if run.last_step >= step)

    def scores(self, measure: str, step: float) -> Array:
        """Return one value per run that reached a step ``[runs]``, if it is known."""
        values = np.array([MEASURES[measure](run, step) for run in self.at(step)], dtype=float)
        return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True)
class Pair:
    """The difference second - first of two variants.

    Attributes:
        first: The variant that the other is compared with.
        second: The other.
        n_pairs: The number of pairs that hold jointly, each with a wider interval (Bonferroni).
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
        """As ``coordconv - nature``."""
        return f"{self.second.name} - {self.first.name}"

    @property
    def step(self) -> float:
        """The step at which they are compared: the lower of theirs."""
        return min(self.first.step, self.second.step)

    def scores(self, measure: str) -> tuple[Array, Array]:
        """Return the scores of each variant, one per seed."""
        return self.first.scores(measure, self.step), self.second.scores(measure, self.step)

    @property
    def is_enough(self) -> bool:
        """Whether both have enough seeds for a conclusion."""
        return min(map(len, self.scores("training"))) >= MIN_SEEDS

    def difference(self, measure: str) -> Interval:
        """Return the difference in a measure."""
        return difference(*self.scores(measure), self.level)

    def over_training(self, steps: Array) -> list[Interval]:
        """Return the difference in scores at each of some steps."""
        first = _scores_over(self.first.at(self.step), steps)
        second = _scores_over(self.second.at(self.step), steps)
        return [difference(first[:, i], second[:, i], self.level) for i in range(len(steps))]

    def probability(self) -> Interval:
        """Return the probability that a seed of the second beats one of the first."""
        return probability_of_improvement(*self.scores("training"))

    def seeds_needed(self) -> int | None:
        """Return the seeds per variant needed to detect a difference of 15% with 80% power."""
        return seeds_needed(*self.scores("training"), level=self.level)


@dataclass(frozen=True)
class Comparison:
    """The variants of one algorithm in one game under one protocol."""

    algorithm: str
    game: str
    protocol: str
    variants: tuple[Variant, ...]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs that are compared, adjusted for those with enough seeds for a conclusion."""
        if len(self.variants) <= _ALL_PAIRS:
            pairs = list(itertools.combinations(self.variants, 2))
        else:
            pairs = [(self.variants[0], variant) for variant in self.variants[1:]]
        n_pairs = max(1, sum(Pair(*pair).is_enough for pair in pairs))
        return tuple(Pair(*pair, n_pairs) for pair in pairs)

    @property
    def score_to_reach(self) -> float:
        """The score that every variant reaches on average: the lowest of their final scores."""
        means = [variant.scores("training", variant.step) for variant in self.variants]
        return float(min((values.mean() for values in means if len(values)), default=np.nan))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing a number."""
        notes = []
        for variant in self.variants:
            notes += [
                f"{run.folder} is at step {run.last_step:,.0f} and left out of the numbers of"
                f" {variant.name}, which are those at step {variant.step:,.0f}."
                for run in variant.runs
                if run.last_step < variant.step
            ]
            if keys := _differing(variant.runs):
                notes.append(f"The runs of {variant.name} differ in more than the seed: {keys}.")
        if keys := _differing([variant.runs[0] for variant in self.variants]):
            notes.append(f"The variants differ in more than the network: {keys}.")
        for run in (run for variant in self.variants for run in variant.runs):
            notes += [f"{run.folder}: {note}." for note in run.notes]
        return notes


def _scores_over(runs: Iterable[RunResult], steps: Array) -> Array:
    """Return the scores ``[runs, steps]`` of the runs whose games are known."""
    scores = [run.score_at(steps) for run in runs if run.steps.size]
    return np.array(scores).reshape(-1, len(steps))


def _differing(runs: Iterable[RunResult]) -> str:
    """Return the settings in which the runs with known settings differ."""
    known = [run.settings for run in runs if run.settings]
    keys = sorted({key for settings in known for key in settings})
    return ", ".join(
        key for key in keys if len({repr(settings.get(key)) for settings in known}) > 1
    )


def compare(runs: Sequence[RunResult]) -> list[Comparison]:
    """Group runs by algorithm, game and protocol, and then by variant.

    SB3 logs whose protocol is unknown are compared with our runs if these have one protocol only.
    """
    style_of = styles(run.variant for run in runs)
    groups: dict[tuple[str, str, str], list[RunResult]] = {}
    for run in sorted(runs, key=lambda run: (run.from_sb3, run.seed.zfill(9))):
        groups.setdefault((run.algorithm, run.game, _protocol(run, runs)), []).append(run)
    comparisons = []
    for key, group in sorted(groups.items()):
        members = {name: [run for run in group if run.variant == name] for name in style_of}
        variants = [Variant(n, style_of[n], tuple(own)) for n, own in members.items() if own]
        comparisons.append(Comparison(*key, tuple(variants)))
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
