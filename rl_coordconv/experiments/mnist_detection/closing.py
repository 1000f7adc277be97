"""The summary of a finished run: its scores and the paper's, and commands to run next."""

from __future__ import annotations

from rich.console import Group

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.results import rows
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
    chosen = config.model_dump(include={"model", "anchors", "preset", "log_dir"})
    baseline = "rpn-conv" if config.proposes_only else "faster-rcnn"
    with_coordinates = "rpn-coordconv" if config.proposes_only else "faster-rcnn-coordconv"
    chosen["model"] = with_coordinates if config.model == baseline else baseline
    commands = {
        "watch": tensorboard(config),
        "compare": _command(chosen),
        "figures": str(run.figures),
    }
    anchors = f", {config.anchors} anchors" if config.proposes_only else ""
    title = f"Test canvases, {config.model}{anchors}, {config.preset} preset"
    return Group(results_table(title, rows(config), run), lines_to_copy(commands))


def _command(chosen: dict[str, str]) -> str:
    words = [word for name, value in chosen.items() for word in (flag(name), value)]
    return shell_command("train-detection", *words)
