"""Draw the learning curves of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from rl_coordconv.runs.reports import Row

_LEGEND = 110  # characters in a row


@dataclass(frozen=True)
class Curve:
    """The evaluations of one run.

    Attributes:
        label: Its group's name in the legend.
        rows: The evaluations.
        colour: Colour of the line.
        dash: matplotlib's style of the line.
    """

    label: str
    rows: Sequence[Row]
    colour: str
    dash: str = "-"


def draw_curves(panels: Mapping[str, Sequence[Curve]], column: str, name: str) -> Figure:
    """Draw a metric over updates, with a line per run.

    Args:
        panels: The curves of each panel, at least one in all, by the panel's title.
        column: The metric's column in ``progress.csv``.
        name: The metric's name, beside the vertical axis.
    """
    figure = Figure(figsize=(9, 4.4), dpi=100, layout="constrained")
    axes_of_panels = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    axes_of_panels[0].set_ylabel(name)
    lines = {}
    for axes, (title, curves) in zip(axes_of_panels, panels.items(), strict=True):
        axes.set_title(title)
        axes.set_xlabel("updates")
        for curve in curves:
            (lines[curve.label],) = axes.plot(
                [row["updates"] for row in curve.rows],
                [row[column] for row in curve.rows],
                color=curve.colour,
                linestyle=curve.dash,
                linewidth=1,
                alpha=0.7,
            )
    figure.legend(
        list(lines.values()),
        list(lines),
        loc="outside lower center",
        ncols=max(_LEGEND // (max(map(len, lines)) + 6), 1),  # 6 for the line and its margin
        fontsize="small",
        title="one line per seed",
        title_fontsize="small",
    )
    return figure
