"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

import math

from rich.console import Group
from rich.table import Table

from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig
from rl_coordconv.experiments.generative.results import measures
from rl_coordconv.runs.config import flag
from rl_coordconv.runs.console import lines_to_copy, tensorboard
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.shell import shell_command


def closing(config: GenerativeConfig, run: Run) -> Group:
    """Return the last evaluation beside the paper's results, and useful commands, for printing.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    chosen = {**config.given, "model": "conv" if config.model != "conv" else "coordconv"}
    flags = [word for name, value in chosen.items() if value for word in (flag(name), str(value))]
    commands = {
        "watch": tensorboard(config),
        "compare": shell_command(f"train-{config.experiment}", *flags),
        "figures": str(run.figures),
    }
    return Group(results_table(config, run), lines_to_copy(commands))


def results_table(config: GenerativeConfig, run: Run) -> Table:
    """Return a table of a run's last evaluation and the paper's results."""
    last = rows_until(run.progress, "step", math.inf)[-1]
    title = f"{config.experiment.upper()}, {config.model}, {config.preset} preset"
    if isinstance(config, GANConfig):
        title += f", tanh: {config.tanh}"
    table = Table("", "ours", "paper", title=title)
    for measure in measures(config):
        value = last.get(measure.column)
        ours = measure.number.format(float(value)) if value else "-"
        table.add_row(measure.name, ours, measure.paper)
    table.add_row("seconds of training", f"{float(last['seconds']):,.0f}", "-")
    table.add_row("updates", f"{int(last['updates']):,}", "-")
    return table
