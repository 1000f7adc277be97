"""Make the tables and learning curves of ``docs/toy.md`` and ``docs/results/toy`` from toy runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import SPLITS
from rl_coordconv.experiments.not_so_clevr.models import MODELS
from rl_coordconv.experiments.not_so_clevr.paper import claim
from rl_coordconv.experiments.not_so_clevr.results import Result, read_result
from rl_coordconv.runs import reports
from rl_coordconv.runs.reports import Report, Row
from rl_coordconv.runs.results import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    markdown_table,
    spread,
)
from rl_coordconv.runs.stored import stored_runs

# `conv` and `deconv` are the baselines of different tasks.
_COLOURS = {
    "conv": BLUE,
    "deconv": BLUE,
    "coordconv": VERMILION,
    "coordconv-relu-avg": PURPLE,
    "deconv-bottleneck": SKY_BLUE,
    "upsample-conv": GREEN,
    "upsample-coordconv": ORANGE,
}
_CHOSEN = {"task", "split", "model", "preset"}  # settings that select a preset's values
_NUMBERS = {"accuracy": "{:.1%}", "iou": "{:.3f}", "euclidean_pixels": "{:.2f}"}
_MEASURES = {"classification": "accuracy", "rendering": "IOU", "regression": "error in pixels"}
# Goals of each task on the test samples, by column name.
_GOALS = {
    "classification": {"first 80%": 0.8, "first 100%": 1.0},
    "rendering": {"first IOU of 0.9": 0.9},
    "regression": {"first below 1 pixel": 1.0},
}


@dataclass(frozen=True)
class Group(reports.Group[Result]):
    """Runs that differ only in their seed: one row of each table."""

    @property
    def config(self) -> ToyConfig:
        """The settings of the first seed."""
        return self.results[0].config

    @property
    def number(self) -> str:
        """The format string of the task's main metric."""
        return _NUMBERS[self.results[0].metric]

    @property
    def name(self) -> str:
        """The row's name: model, inputs, preset, and settings that differ from the preset's."""
        config = self.config
        words = [config.model, *([] if config.inputs == "image" else [config.inputs])]
        if config.preset == "quick":
            words.append("quick")
        others = {key: value for key, value in self.deviations.items() if key != "inputs"}
        return ", ".join([*words, *reports.words(others)])

    @property
    def command(self) -> str:
        """The command that trains the first seed."""
        chosen = self.config.model_dump(include=_CHOSEN)
        if self.config.preset == "paper":
            del chosen["preset"]
        return self.train_command(chosen)

    @property
    def goodness(self) -> float:
        """Mean test score at the last evaluation, negated for distances."""
        sign = -1 if self.config.lower_is_better else 1
        return sign * fmean(result.last[self.config.score] for result in self.results)


def read_groups(folder: Path, configs: Path) -> list[Group]:
    """Read all toy runs below a folder, and group them over seeds.

    Args:
        folder: A folder of run folders, or of runs stored by ``scripts/report_paper.py``.
        configs: The folder ``configs/toy``, which has the presets.

    Raises:
        UserError: A run cannot be read.
    """
    runs = stored_runs(folder, ["progress"])
    parts = reports.group_results(runs, read_result, configs, _CHOSEN)
    return sorted((Group(*part) for part in parts), key=_rank)


def _rank(group: Group) -> tuple[int, ...]:
    """Return a group's sort key in tables; the paper's settings come first."""
    config = group.config
    return (
        list(MODELS).index(config.task),
        list(SPLITS).index(config.split),
        list(MODELS[config.task]).index(config.model),
        config.inputs == "normalised",
        config.preset == "quick",
    )


def tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return every table of the pages in Markdown, by name."""
    return {
        "summary": summary_table(groups),
        "results": results_table(groups),
        **{f"touch-{task}": touch_table(groups, task) for task in _GOALS},
        "ratio": ratio_table(groups),
        "commands": commands_table(groups),
    }


def summary_table(groups: Iterable[Group]) -> str:
    """Return a table of the paper's test scores and our best, with a row per task and split.

    For each model, ours is the setting with the best mean test score at the last evaluation, among
    those with at least three seeds.
    """
    best: dict[tuple[str, str, str], Group] = {}
    for group in groups:
        if len(group.results) >= 3:
            key = group.config.task, group.config.split, group.config.model
            best[key] = max(best.get(key, group), group, key=lambda g: g.goodness)
    rows = []
    for task, split in itertools.product(MODELS, SPLITS):
        baseline = next(iter(MODELS[task]))
        cells = [f"{task} ({_MEASURES[task]})", split]
        for model in (baseline, "coordconv"):
            cells += [claim(task, split, model).test, _final_score(best.get((task, split, model)))]
        for model in ("upsample-conv", "upsample-coordconv"):
            cells.append(_final_score(best.get((task, split, model))))
        rows.append(cells)
    head = "task, split, baseline: paper, baseline: ours, CoordConv: paper, CoordConv: ours"
    controls = [f"control {how} coordinates" for how in ("without", "with")]
    return markdown_table([*head.split(", "), *controls], rows)


def _final_score(group: Group | None) -> str:
    return group.spread(group.config.score, group.number) if group else "-"


def results_table(groups: Iterable[Group]) -> str:
    """Return a table of the paper's results and ours at the last evaluation: mean (min to max)."""
    rows = []
    for group in groups:
        config, first = group.config, group.results[0]
        paper = claim(config.task, config.split, config.model)
        rows.append(
            [
                config.task,
                config.split,
                group.name,
                paper.train,
                group.spread(f"train/{first.metric}", group.number),
                paper.test,
                group.spread(f"test/{first.metric}", group.number),
                group.spread("updates", "{:,.0f}"),
                group.spread("seconds", "{:,.0f}"),
                f"{first.n_parameters:,}",
                str(len(group.results)),
            ]
        )
    head = "task, split, model, paper: train, ours: train, paper: test, ours: test, updates"
    return markdown_table([*head.split(", "), "seconds", "parameters", "seeds"], rows)


def touch_table(groups: Iterable[Group], task: str) -> str:
    """Return a table of when each seed first reached the goals, and of best and last scores."""
    rows = [
        [
            group.config.split,
            group.name,
            *[first_touch(group.results, goal) for goal in _GOALS[task].values()],
            spread([result.best_test for result in group.results], group.number),
            group.spread(group.config.score, group.number),
        ]
        for group in groups
        if group.config.task == task
    ]
    return markdown_table(["split", "model", *_GOALS[task], "best", "last epoch"], rows)


def first_touch(results: Iterable[Result], goal: float) -> str:
    """Return the epoch and time in seconds at which each seed first reached a test score."""
    rows = [result.first_test(goal) for result in results]
    texts = [f"epoch {row['step']:.0f} ({row['seconds']:,.0f} s)" if row else "-" for row in rows]
    return "; ".join(texts)


def ratio_table(groups: Sequence[Group]) -> str:
    """Return a table of how much longer deconvolutions take to 80% than CoordConv to 100%.

    Each row is a pair of groups with the same split and inputs. If a deconvolution never reached
    80%, its whole run counts, so the ratio is a lower bound.
    """
    rows = []
    for slow, fast in itertools.product(groups, groups):
        a, b = slow.config, fast.config
        is_pair = (a.model, b.model) == ("deconv", "coordconv") and a.inputs == b.inputs
        if not (is_pair and a.task == b.task == "classification" and a.split == b.split):
            continue
        to_80 = [result.first_test(0.8) for result in slow.results]
        at_least = [row or result.last for row, result in zip(to_80, slow.results, strict=True)]
        to_100 = [result.first_test(1.0) for result in fast.results]
        bound = "over " if None in to_80 and None not in to_100 else ""
        ratios = [bound + ratio(at_least, to_100, unit) for unit in ("seconds", "updates")]
        paper = "150" if a.split == "uniform" else "-"
        rows.append([a.split, slow.name, fast.name, *ratios, paper])
    return markdown_table(["split", "80% by", "100% by", "seconds", "updates", "paper"], rows)


def ratio(slow: Sequence[Row], fast: Sequence[Row | None], unit: str) -> str:
    """Return the ratio of means over seeds, or a dash if a seed of ``fast`` has no row."""
    if None in fast:
        return "-"
    means = [sum(row[unit] for row in rows if row) / len(rows) for rows in (slow, fast)]
    return f"{means[0] / means[1]:,.1f}"


def commands_table(groups: Iterable[Group]) -> str:
    """Return a table of the commands that train the first seed of each group."""
    rows = [[g.config.task, g.config.split, g.name, f"`{g.command}`"] for g in groups]
    return markdown_table(["task", "split", "model", "command"], rows)


def curves(groups: Sequence[Group], task: str) -> Figure:
    """Draw a task's test score over updates, with a line per seed and a panel per split."""
    figure = Figure(figsize=(9, 4.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    results = [result for g in groups for result in g.results if result.config.task == task]
    lines = {}
    for axes, split in zip(panels, SPLITS, strict=True):
        axes.set_title(f"{task}, {split} split")
        axes.set_xlabel("updates")
        axes.set_xscale("symlog", linthresh=100)
        for result in results:
            config = result.config
            if config.split != split:
                continue
            # Rows that differ in other settings share a label; the tables distinguish them.
            label = config.model if config.inputs == "image" else f"{config.model}, {config.inputs}"
            (lines[label],) = axes.plot(
                [row["updates"] for row in result.rows],
                [row[config.score] for row in result.rows],
                color=_COLOURS[config.model],
                linestyle="--" if config.inputs == "raw" else "-",
                linewidth=1,
                alpha=0.7,
            )
    figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=4,
        fontsize="small",
        title="one line per seed",
        title_fontsize="small",
    )
    metric = results[0].metric
    panels[0].set_ylabel(f"test {metric.replace('_', ' ')}")
    if results[0].config.lower_is_better:
        panels[0].set_yscale("log")
    return figure


class ToyReport(Report):
    """The contents of ``docs/toy.md`` and ``docs/results/toy``."""

    name = "toy"

    def wants(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run is a toy run."""
        return bool(settings["experiment"] == "toy")

    def figures(self, stored: Path) -> dict[str, Figure]:
        """Draw the learning curves of each task."""
        groups = read_groups(stored, CONFIGS / "toy")
        return {task: curves(groups, task) for task in sorted({g.config.task for g in groups})}

    def tables(self, stored: Path) -> dict[str, str]:
        """Return all tables in Markdown, by name."""
        return tables(read_groups(stored, CONFIGS / "toy"))


REPORT = ToyReport()
