"""The tables and curves of ``docs/toy.md``, from run folders."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig, find_defaults
from rl_coordconv.experiments.not_so_clevr.data import SPLITS
from rl_coordconv.experiments.not_so_clevr.models import MODELS
from rl_coordconv.experiments.not_so_clevr.paper import claim
from rl_coordconv.experiments.not_so_clevr.results import Result, read_result
from rl_coordconv.runs.config import UserError, flag
from rl_coordconv.runs.folder import CIRCUMSTANCES, Run, atomic_write

# What may differ between the runs of one row.
_APART = {"seed", *CIRCUMSTANCES}
_RACE = ("deconv", "coordconv")
# Told apart by colour-blind people too (Okabe and Ito).
_COLOURS = {
    "coordconv": "#d55e00",
    "deconv": "#0072b2",
    "conv": "#0072b2",
    "coordconv-relu-avg": "#cc79a7",
    "deconv-bottleneck": "#56b4e9",
    "upsample-conv": "#009e73",
    "upsample-coordconv": "#e69f00",
}

_NUMBERS = {"accuracy": "{:.1%}", "iou": "{:.3f}", "euclidean_pixels": "{:.2f}"}
# What each task is to reach on the test samples, by what a table calls it.
_GOALS = {
    "classification": {"first 80%": 0.8, "first 100%": 1.0},
    "rendering": {"first IOU of 0.9": 0.9},
    "regression": {"first below 1 pixel": 1.0},
}

Row = Mapping[str, float]


@dataclass(frozen=True)
class Group:
    """The runs that differ by their seed only: a row of each table.

    Attributes:
        results: One per seed, at least one.
        deviations: The settings that are not the preset's own.
    """

    results: Sequence[Result]
    deviations: Mapping[str, Any]

    @property
    def config(self) -> ToyConfig:
        """That of the first seed."""
        return self.results[0].config

    @property
    def name(self) -> str:
        """The model, its inputs, the quick preset, and what is not the preset's own."""
        config = self.config
        words = [config.model, *([] if config.inputs == "image" else [config.inputs])]
        if config.preset == "quick":
            words.append("quick")
        more = self.deviations.items()
        words += [f"{key.replace('_', ' ')} {value}" for key, value in more if key != "inputs"]
        return ", ".join(words)

    @property
    def command(self) -> str:
        """What to type for the first seed: the flags that are not the preset's own."""
        chosen = _chosen(self.config)
        if self.config.preset == "paper":
            del chosen["preset"]
        seed = {"seed": self.config.seed} if self.config.seed else {}
        flags = {**chosen, **self.deviations, **seed}.items()
        return " ".join(
            ["python scripts/train_toy.py", *(f"{flag(key)} {value}" for key, value in flags)]
        )


def keep(runs: Path, folder: Path) -> None:
    """Copy what counts of every finished run below a folder: settings, versions, evaluations.

    The figures are copied of the first seed only.

    Raises:
        UserError: A run cannot be read as a toy run.
    """
    for done in sorted(runs.rglob("DONE")):
        parts = [part for part in done.parent.relative_to(runs).parts if part != "toy"]
        run, kept = Run(done.parent), Run(folder.joinpath(*parts))
        config = read_result(run.folder).config.model_copy(update={"log_dir": "runs"})
        kept.folder.mkdir(parents=True, exist_ok=True)
        kept.config.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
        for source, copy in (run.versions, kept.versions), (run.progress, kept.progress):
            shutil.copyfile(source, copy)
        if config.seed == 0:
            shutil.copytree(run.figures, kept.figures, dirs_exist_ok=True)


def read_groups(folder: Path, configs: Path) -> list[Group]:
    """The runs below a folder, by what they have in common but for the seed.

    Args:
        folder: Where they are.
        configs: The folder ``configs/toy``, for what the presets say.

    Raises:
        UserError: There are none.
    """
    results = [read_result(path.parent) for path in sorted(folder.rglob("config.yaml"))]
    if not results:
        raise UserError(f"There are no runs in {folder}.")
    alike: dict[str, list[Result]] = {}
    for result in results:
        alike.setdefault(repr(result.config.model_dump(exclude=_APART)), []).append(result)
    groups = [Group(found, _deviations(found[0].config, configs)) for found in alike.values()]
    return sorted(groups, key=_place)


def _chosen(config: ToyConfig) -> dict[str, Any]:
    """The settings that its defaults hang on."""
    return config.model_dump(include={"task", "split", "model", "preset"})


def _deviations(config: ToyConfig, configs: Path) -> dict[str, Any]:
    """The settings that are not the preset's own; where a run lies and the seed are left out."""
    defaults = find_defaults(configs, _chosen(config)).values
    settings = config.model_dump(exclude=_APART)
    return {key: value for key, value in settings.items() if value != defaults[key]}


def _place(group: Group) -> tuple[int, ...]:
    """Where a group stands in a table; the settings that are the paper's come first."""
    config = group.config
    return (
        list(MODELS).index(config.task),
        list(SPLITS).index(config.split),
        list(MODELS[config.task]).index(config.model),
        config.inputs == "normalised",
        config.preset == "quick",
    )


def fill_tables(document: Path, groups: Sequence[Group]) -> None:
    """Write each table between its marks, ``<!-- name -->`` and ``<!-- end -->``.

    Args:
        document: A Markdown file with such marks.
        groups: As `read_groups` returns them.
    """
    text = document.read_text(encoding="utf-8")
    tables = {
        "results": results_markdown(groups),
        **{f"touch-{task}": touch_markdown(groups, task) for task in _GOALS},
        "ratio": ratio_markdown(groups),
        "commands": commands_markdown(groups),
    }
    for name, table in tables.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = marks.sub(partial(_between, table), text)
    with atomic_write(document) as path:
        path.write_text(text, encoding="utf-8")


def _between(table: str, match: re.Match[str]) -> str:
    return f"{match[1]}{table}{match[2]}"


def results_markdown(groups: Iterable[Group]) -> str:
    """Every row: the paper's value, and ours at the last evaluation: mean (least to largest)."""
    rows = []
    for group in groups:
        config, first = group.config, group.results[0]
        last = [result.last for result in group.results]
        paper, measure = claim(config.task, config.split, config.model), first.measure
        number = _NUMBERS[measure].format
        rows.append(
            [
                *(config.task, config.split, group.name),
                *(paper.train, spread([row[f"train_{measure}"] for row in last], number)),
                *(paper.test, spread([row[f"test_{measure}"] for row in last], number)),
                spread([row["updates"] for row in last], "{:,.0f}".format),
                spread([row["seconds"] for row in last], "{:,.0f}".format),
                *(f"{first.n_parameters:,}", str(len(last))),
            ]
        )
    head = "task, split, model, paper: train, ours: train, paper: test, ours: test, updates"
    return markdown([*head.split(", "), "seconds", "parameters", "seeds"], rows)


def touch_markdown(groups: Iterable[Group], task: str) -> str:
    """When each seed of a task first reached its goals on the test samples, and how it ended."""
    rows = []
    for group in groups:
        if group.config.task != task:
            continue
        results, measure = group.results, group.results[0].measure
        number = _NUMBERS[measure].format
        rows.append(
            [
                *(group.config.split, group.name),
                *(first_touch(results, goal) for goal in _GOALS[task].values()),
                spread([result.best_test for result in results], number),
                spread([result.last[f"test_{measure}"] for result in results], number),
            ]
        )
    return markdown(["split", "model", *_GOALS[task], "best", "last epoch"], rows)


def ratio_markdown(groups: Sequence[Group]) -> str:
    """How much longer a deconvolution takes to 80% than CoordConv takes to 100%, per split.

    Pairs of the same inputs. Of a deconvolution that never came there the whole run counts, which
    makes the ratio a lower bound.
    """
    rows = []
    for slow, fast in itertools.product(groups, groups):
        a, b = slow.config, fast.config
        comparable = a.task == b.task == "classification" and (a.model, b.model) == _RACE
        if not comparable or (a.split, a.inputs) != (b.split, b.inputs):
            continue
        to_80 = [result.first_test(0.8) for result in slow.results]
        at_least = [row or result.last for row, result in zip(to_80, slow.results, strict=True)]
        to_100 = [result.first_test(1.0) for result in fast.results]
        bound = "over " if None in to_80 and None not in to_100 else ""
        ratios = [bound + ratio(at_least, to_100, unit) for unit in ("seconds", "updates")]
        paper = "150" if a.split == "uniform" else "-"
        rows.append([a.split, slow.name, fast.name, *ratios, paper])
    return markdown(["split", "80% by", "100% by", "seconds", "updates", "paper"], rows)


def commands_markdown(groups: Iterable[Group]) -> str:
    """The command of each row, with the first seed."""
    rows = [[g.config.task, g.config.split, g.name, f"`{g.command}`"] for g in groups]
    return markdown(["task", "split", "model", "command"], rows)


def curves(groups: Sequence[Group], task: str) -> Figure:
    """A task's measure over the test samples, by update: every seed a line, a panel per split."""
    figure = Figure(figsize=(9, 4.4), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    lines = {}
    for axes, split in zip(panels, ("uniform", "quadrant"), strict=True):
        axes.set_title(f"{task}, {split} split")
        axes.set_xlabel("updates")
        axes.set_xscale("symlog", linthresh=100)
        for result in (result for group in groups for result in group.results):
            config = result.config
            if (config.task, config.split) != (task, split):
                continue
            # Rows that differ in other settings share a line: the tables tell them apart.
            label = config.model if config.inputs == "image" else f"{config.model}, {config.inputs}"
            (lines[label],) = axes.plot(
                [row["updates"] for row in result.rows],
                [row[f"test_{result.measure}"] for row in result.rows],
                color=_COLOURS[config.model],
                linestyle="--" if config.inputs == "raw" else "-",
                linewidth=1,
                alpha=0.7,
            )
    handles, labels = list(lines.values()), list(lines)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    measure = next(group.results[0].measure for group in groups if group.config.task == task)
    panels[0].set_ylabel(f"test {measure.replace('_', ' ')}")
    if "pixels" in measure:
        panels[0].set_yscale("log")
    return figure


def first_touch(results: Iterable[Result], goal: float) -> str:
    """The epoch and the seconds where each seed first reached a value on the test samples."""
    rows = [result.first_test(goal) for result in results]
    texts = [f"epoch {row['epoch']:.0f} ({row['seconds']:,.0f} s)" if row else "-" for row in rows]
    return "; ".join(texts)


def ratio(slow: Sequence[Row], fast: Sequence[Row | None], unit: str) -> str:
    """The quotient of means over seeds; a dash where a seed of the fast ones never came there."""
    if None in fast:
        return "-"
    means = [sum(row[unit] for row in rows if row) / len(rows) for rows in (slow, fast)]
    return f"{means[0] / means[1]:,.1f}"


def spread(values: Sequence[float], number: Callable[[float], str]) -> str:
    """Mean (least to largest).

    >>> spread([1.0, 2.0, 6.0], "{:.1f}".format)
    '3.0 (1.0 to 6.0)'
    """
    mean, least, largest = map(number, (sum(values) / len(values), min(values), max(values)))
    return mean if least == largest else f"{mean} ({least} to {largest})"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
