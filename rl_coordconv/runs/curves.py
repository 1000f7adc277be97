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
    """Draw a metric over updates, with a line per run, and at most two panels beside each other.

    Args:
        panels: The curves of each panel, at least one in all, by the panel's title.
        column: The metric's column in ``progress.csv``.
        name: The metric's name, beside the vertical axis.
    """
    columns = min(len(panels), 2)
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(9, 1.2 + 3.2 * n_rows), dpi=100, layout="constrained")
    grid = figure.subplots(n_rows, columns, sharey=True, squeeze=False)
    for row in grid:
        row[0].set_ylabel(name)
    for unused in grid.flat[len(panels) :]:
        unused.remove()
    lines = {}
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
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
