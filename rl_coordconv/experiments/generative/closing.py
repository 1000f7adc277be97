"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig
from rl_coordconv.experiments.generative.results import measures
from rl_coordconv.runs.closing import results_table
from rl_coordconv.runs.config import flag
from rl_coordconv.runs.console import lines_to_copy, tensorboard
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
    title = f"{config.experiment.upper()}, {config.model}, {config.preset} preset"
    if isinstance(config, GANConfig):
        title += f", tanh: {config.tanh}"
    return Group(results_table(title, measures(config), run), lines_to_copy(commands))
