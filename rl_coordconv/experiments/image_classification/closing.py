"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.image_classification.config import ClassificationConfig
from rl_coordconv.experiments.image_classification.results import measures
from rl_coordconv.runs.closing import next_commands, results_table
from rl_coordconv.runs.folder import Run


def closing(config: ClassificationConfig, run: Run) -> Group:
    """Return the last evaluation beside the paper's result, and useful commands, for printing.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    title = f"{config.data_name}, {config.backbone}, {config.model}, {config.preset} preset"
    other = "plain" if config.model != "plain" else "coordconv"
    return Group(results_table(title, measures(config), run), next_commands(config, run, other))
