"""Build the report's tables, and write their numbers to tidy CSV files."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_coordconv.compare.comparison import MEASURES, Comparison, Variant
from rl_coordconv.compare.games import OverGames
from rl_coordconv.compare.published import published_scores
from rl_coordconv.compare.results import RunResult, XAxis
from rl_coordconv.compare.sentences import adjustment, count, interval, number
from rl_coordconv.compare.statistics import AGGREGATES, Interval

Row = list[str | float]
# The names of `MEASURES`, in the same order.
_MEASURE_NAMES = ("last 100 training games", "final evaluation", "mean over training")
_WHERE = ("algorithm", "game", "protocol")
_ESTIMATE = ("value", "low", "high")
_LISTED = 3  # files of a kind; more are only counted


@dataclass(frozen=True)
class Table:
    """A caption, a head, and rows of the same length."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def variants_table(comparison: Comparison, target: float) -> Table:
    """Return each variant's scores, and the steps it needed to reach a target score."""
    rows = []
    for variant in comparison.variants:
        means = [interval(variant.mean(measure, variant.step)) for measure in MEASURES]
        seeds = str(len(variant.at(variant.step)))
        reached = _steps_to(variant, target)
        rows.append([variant.name, seeds, count(variant.step), *means, reached])
    head = ["variant", "seeds", "at step", *_MEASURE_NAMES, f"steps to {number(target)}"]
    return Table("Scores: mean over seeds (95% CI)", head, rows)


def _steps_to(variant: Variant, target: float) -> str:
    steps = np.array([run.first_step(target) for run in variant.at(variant.step)])
    reached = np.isfinite(steps)
    # A seed that never reaches the target counts as later than all others, because leaving it out
    # would favour the variant.
    middle = float(np.median(np.where(reached, steps, np.inf)))
    median = count(middle) if np.isfinite(middle) else "-"
    return median if reached.all() else f"{median} ({reached.sum()} of {len(steps)})"


def pairs_table(comparison: Comparison) -> Table:
    """Return the differences between variants."""
    rows = []
    for pair in comparison.pairs:
        gaps = [interval(pair.difference(measure)) for measure in MEASURES]
        needed = str(pair.seeds_needed() or "-")
        better = interval(pair.probability(), ".2f")
        rows.append([pair.name, count(pair.step), *gaps, better, needed])
    head = ["difference", "at step", *_MEASURE_NAMES, "probability of improvement"]
    adjusted = adjustment(max((pair.n_pairs for pair in comparison.pairs), default=1))
    caption = f"Differences (95% CI{adjusted})"
    return Table(caption, [*head, "seeds per variant to detect 15%"], rows)


def runs_table(comparison: Comparison) -> Table:
    """Return the variant, seed, last step, number of games and files of every run."""
    rows = []
    for variant in comparison.variants:
        for run in variant.runs:
            games = f"{len(run.returns):,}" if run.window > 1 else "-"
            files = "run folder" if not run.from_sb3 else _list_files(run)
            rows.append(
                [str(run.folder), variant.name, run.seed, count(run.last_step), games, files]
            )
    head = ["run", "variant", "seed", "last step", "games", "files"]
    return Table("Runs and their files", head, rows)


def _list_files(run: RunResult) -> str:
    """List the files of a run relative to its folder; more than three of a kind are counted."""
    names = [os.path.relpath(file, run.folder) for file in run.files]
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = "monitors" if name.endswith("monitor.csv") else "event files"
        kinds.setdefault(name if name.endswith(".npz") else kind, []).append(name)
    return ", ".join(
        f"{len(own)} {kind}" if len(own) > _LISTED else ", ".join(own)
        for kind, own in kinds.items()
    )


def versions_table(runs: Sequence[RunResult], versions: Mapping[str, str | None]) -> Table:
    """Return the package versions of the report and of the runs.

    Args:
        runs: The runs.
        versions: The report's package versions by name.
    """
    rows = []
    for name in dict.fromkeys([*versions, *(name for run in runs for name in run.versions)]):
        of_runs = {run.versions.get(name) for run in runs}
        known = sorted(version for version in of_runs if version)
        rows.append([name, versions.get(name) or "-", ", ".join(known) or "-"])
    return Table("Versions", ["package", "this report", "the runs"], rows)


def published_table(comparison: Comparison) -> Table:
    """Return published scores of the same algorithm in the same game."""
    rows = []
    for other in published_scores(comparison.algorithm, comparison.game):
        spread = "" if other.spread is None else f" +/- {number(other.spread)}"
        rows.append([other.source, number(other.score) + spread, other.protocol, other.how])
    head = ["source", "score", "protocol", "how it was measured"]
    return Table("Published scores after 10M steps (40M frames)", head, rows)


def aggregates_table(summary: OverGames) -> Table:
    """Return IQM, median, mean and optimality gap of each variant."""
    variants = summary.variants
    names = [name for name in AGGREGATES if any(name in v.aggregates for v in variants)]
    missing = Interval(float("nan"))
    rows = []
    for variant in variants:
        values = [interval(variant.aggregates.get(name, missing), ".3f") for name in names]
        rows.append([variant.name, str(len(variant.matrix)), *values])
    caption = f"Human-normalised scores over {len(summary.games)} games (95% CI)"
    return Table(caption, ["variant", "seeds per game", *names], rows)


def write_csv(
    folder: Path,
    comparisons: Sequence[Comparison],
    summaries: Sequence[OverGames],
    x: XAxis,
    target: float | None,
) -> list[str]:
    """Write the report's numbers to CSV files, an observation per row, and return their names."""
    files = {
        "runs.csv": list(_runs(comparisons, target)),
        "curves.csv": list(_curves(comparisons, x)),
        "variants.csv": list(_variants(comparisons)),
        "differences.csv": list(_differences(comparisons)),
        "over_games.csv": list(_over_games(summaries)),
    }
    written = {name: rows for name, rows in files.items() if len(rows) > 1}
    for name, rows in written.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return list(written)


def _where(comparison: Comparison) -> list[str]:
    return [comparison.algorithm, comparison.game, comparison.protocol]


def _runs(comparisons: Iterable[Comparison], target: float | None) -> Iterator[Row]:
    head = [*_WHERE, "variant", "seed", "last_step", *MEASURES]
    yield [*head, "step_of_score", "score", "folder"]
    for comparison in comparisons:
        goal = comparison.score_to_reach if target is None else target
        for run in (run for variant in comparison.variants for run in variant.runs):
            scores = [measure(run, run.last_step) for measure in MEASURES.values()]
            row: Row = [*_where(comparison), run.variant, run.seed, run.last_step, *scores]
            yield [*row, run.first_step(goal), goal, str(run.folder)]


def _curves(comparisons: Iterable[Comparison], x: XAxis) -> Iterator[Row]:
    yield [*_WHERE, "variant", "seed", x, "score"]
    for comparison in comparisons:
        for run in (run for variant in comparison.variants for run in variant.runs):
            points = run.grid(x)
            for point, value in zip(points, run.score_at(points, x), strict=True):
                numbers = round(float(point), 4), round(float(value), 3)
                yield [*_where(comparison), run.variant, run.seed, *numbers]


def _variants(comparisons: Iterable[Comparison]) -> Iterator[Row]:
    yield [*_WHERE, "variant", "step", "measure", "seeds", *_ESTIMATE]
    for comparison in comparisons:
        for variant, measure in itertools.product(comparison.variants, MEASURES):
            scores = variant.scores(measure, variant.step)
            row: Row = [*_where(comparison), variant.name, variant.step, measure, len(scores)]
            yield [*row, *_estimate(variant.mean(measure, variant.step))]


def _differences(comparisons: Iterable[Comparison]) -> Iterator[Row]:
    yield [*_WHERE, "variant", "against", "step", "measure", *_ESTIMATE]
    for comparison in comparisons:
        for pair in comparison.pairs:
            estimates: dict[str, Interval] = {m: pair.difference(m) for m in MEASURES}
            estimates["probability_of_improvement"] = pair.probability()
            row: Row = [*_where(comparison), pair.second.name, pair.first.name, pair.step]
            for measure, estimate in estimates.items():
                yield [*row, measure, *_estimate(estimate)]


def _over_games(summaries: Iterable[OverGames]) -> Iterator[Row]:
    yield ["algorithm", "protocol", "variant", "games", "seeds", "measure", *_ESTIMATE]
    for summary in summaries:
        for variant in summary.variants:
            seeds = len(variant.matrix)
            row: Row = [
                summary.algorithm,
                summary.protocol,
                variant.name,
                len(summary.games),
                seeds,
            ]
            for name, estimate in variant.aggregates.items():
                yield [*row, name, *_estimate(estimate)]


def _estimate(estimate: Interval) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]
