"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.results import measures
from rl_coordconv.runs.closing import next_commands, results_table
from rl_coordconv.runs.folder import Run


def closing(config: DetectionConfig, run: Run) -> Group:
    """Return the last evaluation beside the paper's results, and useful commands, for printing.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    baseline, with_coordinates = (
        ("rpn-conv", "rpn-coordconv")
        if config.proposes_only
        else ("faster-rcnn", "faster-rcnn-coordconv")
    )
    other = with_coordinates if config.model == baseline else baseline
    anchors = f", {config.anchors} anchors" if config.proposes_only else ""
    title = f"Test canvases, {config.model}{anchors}, {config.preset} preset"
    return Group(results_table(title, measures(config), run), next_commands(config, run, other))
