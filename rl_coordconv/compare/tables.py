"""The report's tables, and the same and more as tidy CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_coordconv.compare.comparison import MEASURES, Comparison
from rl_coordconv.compare.games import OverGames
from rl_coordconv.compare.plots import XAxis, grid, score
from rl_coordconv.compare.published import peers_of
from rl_coordconv.compare.sentences import count, interval, number
from rl_coordconv.compare.statistics import AGGREGATES, Interval, mean_interval

Value = str | float
_MEASURE_NAMES = {
    "training": "last 100 training games",
    "evaluation": "final evaluation",
    "area": "mean over training",
}


@dataclass(frozen=True)
class Table:
    """What a reader sees: a caption, a head, and rows of the same length."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def arms_table(comparison: Comparison, target: float) -> Table:
    """Each arm's scores, and how soon it reached one."""
    rows = []
    for arm in comparison.arms:
        scores = {measure: arm.scores(measure, arm.step) for measure in MEASURES}
        runs = arm.at(arm.step)
        reached = np.array([run.first_step(target) for run in runs])
        there = np.isfinite(reached)
        # A seed that never got there counts as later than all others: to leave it out would flatter
        # the arm.
        middle = float(np.median(np.where(there, reached, np.inf)))
        median = count(middle) if np.isfinite(middle) else "-"
        rows.append(
            [
                *(arm.name, str(len(runs)), count(arm.step)),
                *(interval(mean_interval(values)) for values in scores.values()),
                median if there.all() else f"{median} ({there.sum()} of {len(runs)})",
            ]
        )
    head = ["arm", "seeds", "at step", *_MEASURE_NAMES.values(), f"steps to {number(target)}"]
    return Table("Scores: mean over seeds (95% interval)", head, rows)


def pairs_table(comparison: Comparison) -> Table:
    """What lies between the arms."""
    rows = []
    for pair in comparison.pairs:
        needed = pair.seeds_needed()
        rows.append(
            [
                f"{pair.second.name} against {pair.first.name}",
                count(pair.step),
                *(interval(pair.difference(measure)) for measure in MEASURES),
                interval(pair.probability(), ".2f"),
                "-" if needed is None else str(needed),
            ]
        )
    head = ["pair", "at step", *_MEASURE_NAMES.values()]
    head += ["probability of improvement", "seeds per arm to see 15%"]
    return Table("Differences: the first named less the second", head, rows)


def peers_table(comparison: Comparison) -> Table:
    """Published scores of the same algorithm in the same game."""
    rows = [
        [
            peer.source,
            number(peer.score) + ("" if peer.spread is None else f" +/- {number(peer.spread)}"),
            *(peer.protocol, peer.how),
        ]
        for peer in peers_of(comparison.algorithm, comparison.game)
    ]
    head = ["source", "score", "protocol", "how it was measured"]
    return Table("Published scores after 10M steps (40M frames)", head, rows)


def aggregates_table(summary: OverGames) -> Table:
    """IQM, median, mean and optimality gap of each arm."""
    names = [name for name in AGGREGATES if any(name in arm.aggregates for arm in summary.arms)]
    missing = Interval(float("nan"))
    rows = [
        [arm.name, str(len(arm.matrix))]
        + [interval(arm.aggregates.get(name, missing), ".3f") for name in names]
        for arm in summary.arms
    ]
    return Table(
        f"Human-normalised scores over {len(summary.games)} games (95% interval)",
        ["arm", "seeds per game", *names],
        rows,
    )


def write_csv(
    folder: Path,
    comparisons: Sequence[Comparison],
    summaries: Sequence[OverGames],
    x: XAxis,
    target: float | None,
) -> list[str]:
    """Write every number of the report, one observation a row, and return the files' names."""
    files = {
        "runs.csv": list(_runs(comparisons, target)),
        "curves.csv": list(_curves(comparisons, x)),
        "arms.csv": list(_arms(comparisons)),
        "differences.csv": list(_differences(comparisons)),
        "over_games.csv": list(_over_games(summaries)),
    }
    written = {name: rows for name, rows in files.items() if rows}
    for name, rows in written.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return list(written)


def _where(comparison: Comparison) -> dict[str, Value]:
    return {
        "algorithm": comparison.algorithm,
        "game": comparison.game,
        "protocol": comparison.protocol,
    }


def _runs(comparisons: Iterable[Comparison], target: float | None) -> Iterator[dict[str, Value]]:
    for comparison in comparisons:
        to_reach = comparison.score_to_reach if target is None else target
        for arm in comparison.arms:
            for run in arm.runs:
                yield {
                    **_where(comparison),
                    **{"arm": arm.name, "seed": run.seed, "last_step": run.last_step},
                    **{name: measure(run, run.last_step) for name, measure in MEASURES.items()},
                    "step_of_score": run.first_step(to_reach),
                    "score": to_reach,
                    "folder": str(run.folder),
                }


def _curves(comparisons: Iterable[Comparison], x: XAxis) -> Iterator[dict[str, Value]]:
    for comparison in comparisons:
        for arm in comparison.arms:
            for run in arm.runs:
                points = grid(run, x)
                for point, value in zip(points, score(run, points, x), strict=True):
                    yield {
                        **_where(comparison),
                        **{"arm": arm.name, "seed": run.seed},
                        **{x: round(float(point), 4), "score": round(float(value), 3)},
                    }


def _arms(comparisons: Iterable[Comparison]) -> Iterator[dict[str, Value]]:
    for comparison in comparisons:
        for arm in comparison.arms:
            for measure in MEASURES:
                scores = arm.scores(measure, arm.step)
                yield {
                    **_where(comparison),
                    **{"arm": arm.name, "step": arm.step, "measure": measure},
                    **{"seeds": len(scores), **_columns(mean_interval(scores))},
                }


def _differences(comparisons: Iterable[Comparison]) -> Iterator[dict[str, Value]]:
    for comparison in comparisons:
        for pair in comparison.pairs:
            estimates = {measure: pair.difference(measure) for measure in MEASURES}
            estimates["probability_of_improvement"] = pair.probability()
            for measure, estimate in estimates.items():
                yield {
                    **_where(comparison),
                    **{"arm": pair.second.name, "against": pair.first.name, "step": pair.step},
                    **{"measure": measure, **_columns(estimate)},
                }


def _over_games(summaries: Iterable[OverGames]) -> Iterator[dict[str, Value]]:
    for summary in summaries:
        for arm in summary.arms:
            for name, estimate in arm.aggregates.items():
                yield {
                    **{"algorithm": summary.algorithm, "protocol": summary.protocol},
                    **{"arm": arm.name, "games": len(summary.games), "seeds": len(arm.matrix)},
                    **{"measure": name, **_columns(estimate)},
                }


def _columns(estimate: Interval) -> dict[str, Value]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
