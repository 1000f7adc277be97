"""The table of ours beside the paper's, in the last lines of a training's output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run


@dataclass(frozen=True)
class Measure:
    """A measure.

    Attributes:
        name: Its name in tables.
        column: Its column in ``progress.csv``.
        number: Its format string.
        paper: The paper's value; a dash if there is none.
    """

    name: str
    column: str
    number: str
    paper: str = "-"


def results_table(title: str, measures: Iterable[Measure], run: Run) -> Table:
    """Return a table of a run's last evaluation and the paper's results."""
    last = rows_until(run.progress, "step", math.inf)[-1]
    table = Table("", "ours", "paper", title=title)
    for measure in measures:
        value = last.get(measure.column)
        ours = measure.number.format(float(value)) if value else "-"
        table.add_row(measure.name, ours, measure.paper)
    table.add_row("seconds of training", f"{float(last['seconds']):,.0f}", "-")
    table.add_row("updates", f"{int(last['updates']):,}", "-")
    return table
