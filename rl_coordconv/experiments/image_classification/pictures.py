"""Figures of the report: accuracy by model, and by the shift of images."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rl_coordconv.experiments.image_classification.figures import COLOURS, plot_shifts
from rl_coordconv.experiments.image_classification.groups import Group, by_task
from rl_coordconv.experiments.image_classification.results import accuracy_by_shift


def figures(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw the accuracy of every seed by model, and by shift, with a panel per task.

    Args:
        groups: At least one.
    """
    tasks = by_task(groups)
    size = (max(4.5 * len(tasks), 7), 4.2)
    accuracy = Figure(figsize=size, dpi=100, layout="constrained")
    shifts = Figure(figsize=size, dpi=100, layout="constrained")
    panels = [
        figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for figure in (accuracy, shifts)
    ]
    for (task, own), above, below in zip(tasks.items(), *panels, strict=True):
        for place, group in enumerate(own):
            values = list(group.values("val/top1").values())
            colour = COLOURS[group.config.model]
            above.plot([place] * len(values), values, "o", color=colour, alpha=0.7)
            above.plot(place, sum(values) / len(values), "_", color=colour, markersize=24)
            plot_shifts(below, group.name, [accuracy_by_shift(r.last) for r in group.results])
        above.set_xticks(range(len(own)), [group.name for group in own], rotation=30, ha="right")
        for axes in (above, below):
            axes.set_title(task, fontsize="medium")
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter("{x:.0%}")
    panels[0][0].set_ylabel("top-1 accuracy; the lines are means")
    panels[1][0].set_ylabel("top-1 accuracy, mean over four directions")
    handles, labels = panels[1][0].get_legend_handles_labels()
    shifts.legend(handles, labels, loc="outside lower center", ncols=5, fontsize="small")
    return {"accuracy": accuracy, "shifts": shifts}
