"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.results import measures
from rl_coordconv.runs.closing import results_table
from rl_coordconv.runs.config import flag
from rl_coordconv.runs.console import lines_to_copy, tensorboard
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.shell import shell_command


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
    chosen = {**config.given, "model": other}
    flags = [word for name, value in chosen.items() if value for word in (flag(name), str(value))]
    commands = {
        "watch": tensorboard(config),
        "compare": shell_command("train-detection", *flags),
        "figures": str(run.figures),
    }
    anchors = f", {config.anchors} anchors" if config.proposes_only else ""
    title = f"Test canvases, {config.model}{anchors}, {config.preset} preset"
    return Group(results_table(title, measures(config), run), lines_to_copy(commands))
