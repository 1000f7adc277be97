"""Pictures of the report: learning curves, and detections and errors by place of several models."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.figures import draw_detections, draw_overlaps
from rl_coordconv.experiments.mnist_detection.groups import Group
from rl_coordconv.experiments.mnist_detection.learner import DetectionLearner
from rl_coordconv.experiments.mnist_detection.probe import ProbeMaps
from rl_coordconv.experiments.mnist_detection.train import load_learner, read_test_canvases
from rl_coordconv.runs.checkpoint import rng_untouched
from rl_coordconv.runs.curves import Curve, draw_curves
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.results import BLUE, GREEN, PURPLE, SKY_BLUE, VERMILION

_COLOURS = {
    "rpn-conv": BLUE,
    "rpn-coordconv": VERMILION,
    "rpn-zeros": SKY_BLUE,
    "rpn-noise": GREEN,
    "faster-rcnn": BLUE,
    "faster-rcnn-coordconv": VERMILION,
    "faster-rcnn-coordconv-heads": PURPLE,
    "faster-rcnn-zeros": SKY_BLUE,
    "faster-rcnn-noise": GREEN,
}
_N_CANVASES = 6  # per model


def curves(groups: Sequence[Group]) -> Figure:
    """Draw the IOU over updates, with a panel per kind of detector and a line per seed.

    Args:
        groups: At least one.
    """
    panels: dict[str, list[Curve]] = {}
    for group in groups:
        title = f"{group.kind}, {group.config.preset} preset"
        colour, dash = _COLOURS[group.config.model], "--" if group.deviations else "-"
        own = [Curve(group.name, result.rows, colour, dash) for result in group.results]
        panels.setdefault(title, []).extend(own)
    return draw_curves(panels, "test/iou", "IOU")


@rng_untouched()
def from_weights(groups: Sequence[Group]) -> dict[str, Figure]:
    """Draw detections, and errors by place, of the models without and with coordinates.

    The first seed of each model is shown, so none is chosen by its looks.

    Args:
        groups: Groups of run folders with weights.
    """
    maps: dict[str, ProbeMaps] = {}
    found: dict[str, list[Detections]] = {}
    for group in groups:
        if not (group.is_baseline or "coordconv" in group.config.model):
            continue
        learner = _load(group)
        shown = learner.test[:_N_CANVASES]
        name = f"{group.name}, {group.kind}" if group.config.proposes_only else group.name
        maps[name], found[name] = learner.probe(), learner.detect(shown.images)
    if not found:
        return {}
    return {
        "places": draw_overlaps(maps, columns=2),
        "detections": draw_detections(shown.images, shown.boxes, found),
    }


def _load(group: Group) -> DetectionLearner:
    first = group.results[0]
    return load_learner(first.config, Run(first.run.folder), read_test_canvases(first.config))
