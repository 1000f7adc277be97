"""Figures of the report: accuracy by model, and by the shift of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_coordconv.experiments.image_classification.figures import COLOURS, plot_shifts
from rl_coordconv.experiments.image_classification.groups import Group, by_task
from rl_coordconv.experiments.image_classification.results import accuracy_by_shift
from rl_coordconv.runs.differences import mean_and_half_width


def figures(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw the accuracy of every seed by model, and by shift, with a panel per task.

    Args:
        groups: At least one.
    """
    tasks = by_task(groups)
    drawn = {"accuracy": _draw_accuracy(tasks)}
    shifted = {name: own for name, own in tasks.items() if own[0].config.shifts}
    return drawn | ({"shifts": _draw_shifts(shifted)} if shifted else {})


def _draw_accuracy(tasks: Mapping[str, Sequence[Group]]) -> Figure:
    figure, panels = _panels(tasks)
    for axes, own in zip(panels, tasks.values(), strict=True):
        for place, group in enumerate(own):
            values = list(group.values("val/top1").values())
            colour = COLOURS[group.config.model]
            axes.plot([place - 0.15] * len(values), values, "o", color=colour, alpha=0.6)
            mean, half = mean_and_half_width(values)
            axes.errorbar(place + 0.15, mean, half, fmt="s", color=colour, capsize=4)
        axes.set_xticks(range(len(own)), [group.name for group in own], rotation=30, ha="right")
    panels[0].set_ylabel("top-1 accuracy, mean and 95% interval")
    return figure


def _draw_shifts(tasks: Mapping[str, Sequence[Group]]) -> Figure:
    figure, panels = _panels(tasks)
    for axes, own in zip(panels, tasks.values(), strict=True):
        for group in own:
            plot_shifts(axes, group.name, [accuracy_by_shift(r.last) for r in group.results])
    panels[0].set_ylabel("top-1 accuracy, mean over four directions")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small")
    return figure


def _panels(tasks: Mapping[str, Sequence[Group]]) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with a panel per task."""
    figure = Figure(figsize=(max(4.5 * len(tasks), 7), 4.2), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        axes.set_title(task, fontsize="medium")
        axes.yaxis.set_major_formatter("{x:.0%}")
    return figure, panels
