"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig
from rl_coordconv.experiments.generative.results import measures
from rl_coordconv.runs.closing import next_commands, results_table
from rl_coordconv.runs.folder import Run


def closing(config: GenerativeConfig, run: Run) -> Group:
    """Return the last evaluation beside the paper's results, and useful commands, for printing.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    title = f"{config.experiment.upper()}, {config.model}, {config.preset} preset"
    if isinstance(config, GANConfig):
        title += f", tanh: {config.tanh}"
    other = "conv" if config.model != "conv" else "coordconv"
    return Group(results_table(title, measures(config), run), next_commands(config, run, other))
