"""Make the tables and figures of ``docs/classification.md`` and ``docs/results/classification``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from rl_coordconv.experiments.image_classification import pictures
from rl_coordconv.experiments.image_classification.groups import Group, by_task, group_runs
from rl_coordconv.experiments.image_classification.paper import P_VALUE, TOP5_GAIN
from rl_coordconv.experiments.image_classification.results import SHIFTED, measures
from rl_coordconv.runs.closing import Measure
from rl_coordconv.runs.differences import difference, p_values
from rl_coordconv.runs.reports import Report
from rl_coordconv.runs.results import Line, table_of_lines
from rl_coordconv.runs.stored import stored_runs


def tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return every table of the pages in Markdown, by name."""
    return {
        "classification": scores_table(groups),
        "classification-differences": differences_table(groups),
        "classification-runs": runs_table(groups),
    }


def scores_table(groups: Iterable[Group]) -> str:
    """Return a table of scores at the last evaluation: mean (min to max) over seeds."""
    lines: list[Line] = []
    head: dict[str, None] = dict.fromkeys(["task", "model"])
    for group in groups:
        line = _settings(group)
        for measure in measures(group.config):
            line[measure.name] = group.spread(measure.column, measure.number)
        head |= dict.fromkeys(line)
        lines.append(line)
    return table_of_lines([*(name for name in head if name != "seeds"), "seeds"], lines)


def differences_table(groups: Iterable[Group]) -> str:
    """Return a table of the differences between each model and ``plain``."""
    lines: list[Line] = []
    for own in by_task(groups).values():
        baseline, *others = own
        if baseline.config.model != "plain":
            continue
        for group in others:
            is_claim = group.config.model == "coordconv"
            line = {
                **_settings(group),
                "model": f"{group.name} - plain",
                "paper: top-5 on ImageNet": f"{TOP5_GAIN} ({P_VALUE})" if is_claim else "-",
                "seeds": str(len(baseline.values("val/top1").keys() & group.values("val/top1"))),
            }
            for measure in _compared(group):
                scores = baseline.values(measure.column), group.values(measure.column)
                is_share = measure.number.endswith("%}")
                name = f"{measure.name}, points" if is_share else measure.name
                line[name] = difference(*scores, _points if is_share else "{:+.4f}".format)
                line[f"{measure.name}, p"] = p_values(*scores)
            lines.append(line)
    head = dict.fromkeys(name for line in lines for name in line if name != "seeds")
    return table_of_lines([*(head or ("task", "model")), "seeds"], lines)


def _compared(group: Group) -> list[Measure]:
    """Return the measures to compare: of the shifts, only the middle one."""
    of_shifts = [f"{SHIFTED}{pixels}" for pixels in group.config.shifts]
    left_out = {"train/top1", *of_shifts} - set(of_shifts[len(of_shifts) // 2 :][:1])
    return [measure for measure in measures(group.config) if measure.column not in left_out]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def runs_table(groups: Iterable[Group]) -> str:
    """Return a table of commands and times."""
    lines = [
        {
            **_settings(group),
            "command": f"`{group.command}`",
            "updates": group.spread("updates", "{:,.0f}"),
            "seconds": group.seconds,
        }
        for group in groups
    ]
    return table_of_lines(["task", "model", "command", "updates", "seconds", "seeds"], lines)


def _settings(group: Group) -> dict[str, str]:
    return {"task": group.task, "model": group.name, "seeds": str(len(group.results))}


class ClassificationReport(Report):
    """The contents of ``docs/classification.md`` and ``docs/results/classification``."""

    name = "classification"

    def wants(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run trained a classifier."""
        return bool(settings["experiment"] == "classification")

    def figures(self, stored: Path) -> dict[str, Figure]:
        """Draw the accuracy of each model, and that of shifted images."""
        groups = group_runs(stored_runs(stored, ["progress"]))
        return pictures.figures(groups) if groups else {}

    def tables(self, stored: Path) -> dict[str, str]:
        """Return all tables in Markdown, by name."""
        return tables(group_runs(stored_runs(stored, ["progress"])))


REPORT = ClassificationReport()
