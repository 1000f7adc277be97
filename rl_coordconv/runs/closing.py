"""The last lines of a training's output: results beside the paper's, and the next commands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from rl_coordconv.runs.config import Config, flag
from rl_coordconv.runs.console import lines_to_copy, tensorboard
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.shell import shell_command


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


def next_commands(config: Config, run: Run, model: str) -> Text:
    """Return commands to watch a finished run and to compare it with another model.

    Args:
        config: The run's settings.
        run: The finished run.
        model: The other model, which is trained with the same settings.
    """
    chosen = {**config.given, "model": model}
    # An empty value, which is that of a setting without one, needs no flag.
    flags = [word for name, value in chosen.items() if value for word in (flag(name), str(value))]
    commands = {
        "watch": tensorboard(config),
        "compare": shell_command(f"train-{config.experiment}", *flags),
        "figures": str(run.figures),
    }
    return lines_to_copy(commands)
