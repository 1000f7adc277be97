"""Runs become arms, and arms become comparisons: one per algorithm, game and protocol."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rl_coordconv.compare.results import Array, RunResult
from rl_coordconv.compare.statistics import (
    LEVEL,
    MIN_SEEDS,
    Interval,
    difference,
    level_of_each,
    probability_of_improvement,
    seeds_needed,
)
from rl_coordconv.compare.variants import Style, styles

# What a run is judged by, at a step.
MEASURES: dict[str, Callable[[RunResult, float], float]] = {
    "training": RunResult.final_score,
    "evaluation": RunResult.evaluation_score,
    "area": RunResult.mean_score,
}
_NEARLY = 0.95  # a run that got this far counts as one that got there
_ALL_PAIRS = 4  # arms of which every pair is compared; of more, each with the first


@dataclass(frozen=True)
class Arm:
    """The runs that differ by their seed only."""

    name: str
    style: Style
    runs: tuple[RunResult, ...]

    @cached_property
    def step(self) -> float:
        """Where the arm is judged: as far as half of its runs got.

        So one run that is behind, or has just begun, does not hold up the others.
        """
        reached = sorted(run.last_step for run in self.runs)
        middle = reached[len(reached) // 2]
        return min(step for step in reached if step >= _NEARLY * middle)

    def at(self, step: float) -> tuple[RunResult, ...]:
        """The runs that reached a step."""
        return tuple(run for run in self.runs if run.last_step >= step)

    def scores(self, measure: str, step: float) -> Array:
        """One value per run that reached a step ``[runs]``, where it is known."""
        values = np.array([MEASURES[measure](run, step) for run in self.at(step)], dtype=float)
        return np.asarray(values[np.isfinite(values)])


@dataclass(frozen=True)
class Pair:
    """Two arms at the last step that both are judged at.

    Attributes:
        first: What the other is compared with.
        second: The other.
        level: How sure its intervals are.
    """

    first: Arm
    second: Arm
    level: float

    @property
    def step(self) -> float:
        """Where they are compared."""
        return min(self.first.step, self.second.step)

    def scores(self, measure: str) -> tuple[Array, Array]:
        """One value per seed of either arm."""
        return self.first.scores(measure, self.step), self.second.scores(measure, self.step)

    @property
    def is_enough(self) -> bool:
        """Whether both have the seeds that a conclusion needs."""
        return min(map(len, self.scores("training"))) >= MIN_SEEDS

    def difference(self, measure: str) -> Interval:
        """How much higher the second is."""
        return difference(*self.scores(measure), self.level)

    def over_training(self, steps: Array) -> list[Interval]:
        """How much higher the second's score is at each of some steps."""
        first, second = (
            _scores_over(arm.at(self.step), steps) for arm in (self.first, self.second)
        )
        return [difference(first[:, i], second[:, i], self.level) for i in range(len(steps))]

    def probability(self) -> Interval:
        """How often a seed of the second beats one of the first."""
        return probability_of_improvement(*self.scores("training"))

    def seeds_needed(self) -> int | None:
        """Seeds per arm to see a difference of 15% of the first, four times in five."""
        return seeds_needed(*self.scores("training"), level=self.level)


@dataclass(frozen=True)
class Comparison:
    """The arms of one algorithm in one game under one protocol."""

    algorithm: str
    game: str
    protocol: str
    arms: tuple[Arm, ...]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """What is compared with what.

        Where several pairs have the seeds that a conclusion needs, each interval is wider, so that
        all hold together: `level_of_each`.
        """
        if len(self.arms) <= _ALL_PAIRS:
            pairs = list(itertools.combinations(self.arms, 2))
        else:
            pairs = [(self.arms[0], arm) for arm in self.arms[1:]]
        judged = sum(Pair(a, b, LEVEL).is_enough for a, b in pairs)
        return tuple(Pair(a, b, level_of_each(max(judged, 1))) for a, b in pairs)

    @property
    def score_to_reach(self) -> float:
        """What every arm reaches on average: the lowest of their final scores."""
        means = [arm.scores("training", arm.step) for arm in self.arms]
        return float(min((values.mean() for values in means if len(values)), default=np.nan))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing a number."""
        notes = []
        for arm in self.arms:
            notes += [
                f"{run.folder} is at step {run.last_step:,.0f} and left out of the numbers of"
                f" {arm.name}, which are those at step {arm.step:,.0f}."
                for run in arm.runs
                if run.last_step < arm.step
            ]
            if keys := _differing(arm.runs):
                notes.append(f"The runs of {arm.name} differ in more than the seed: {keys}.")
        if keys := _differing([arm.runs[0] for arm in self.arms]):
            notes.append(f"The arms differ in more than the network: {keys}.")
        for run in (run for arm in self.arms for run in arm.runs):
            notes += [f"{run.folder}: {note}." for note in run.notes]
        return notes


def _scores_over(runs: Iterable[RunResult], steps: Array) -> Array:
    """Scores ``[runs, steps]`` of the runs that are known game by game."""
    scores = [run.score_at(steps) for run in runs if run.steps.size]
    return np.array(scores).reshape(-1, len(steps))


def _differing(runs: Iterable[RunResult]) -> str:
    """The settings in which runs differ, of those whose settings are known."""
    known = [run.settings for run in runs if run.settings]
    keys = sorted({key for settings in known for key in settings})
    return ", ".join(
        key for key in keys if len({repr(settings.get(key)) for settings in known}) > 1
    )


def compare(runs: Sequence[RunResult]) -> list[Comparison]:
    """Group runs by algorithm, game and protocol, and within by arm.

    Others' runs whose protocol is unknown stand beside ours where ours have one protocol only.
    """
    style_of = styles(run.arm for run in runs)
    groups: dict[tuple[str, str, str], list[RunResult]] = {}
    for run in sorted(runs, key=lambda run: (run.is_foreign, run.seed.zfill(9))):
        groups.setdefault((run.algorithm, run.game, _protocol(run, runs)), []).append(run)
    comparisons = []
    for key, group in sorted(groups.items()):
        members = {name: [run for run in group if run.arm == name] for name in style_of}
        arms = tuple(Arm(n, style_of[n], tuple(own)) for n, own in members.items() if own)
        comparisons.append(Comparison(*key, arms))
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
