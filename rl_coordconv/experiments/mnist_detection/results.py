"""The measures in tables, ours beside the paper's."""

from __future__ import annotations

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.paper import IOU_GAIN, LOSSES
from rl_coordconv.runs.closing import Measure


def measures(config: DetectionConfig) -> list[Measure]:
    """Return the measures of a run, in the order of tables."""
    losses = LOSSES.get(config.model, {})
    gain = f"{IOU_GAIN:.0%} above rpn-conv" if config.model == "rpn-coordconv" else "-"
    of_proposals = [
        Measure("loss", "test/loss", "{:.4f}", losses.get("loss", "-")),
        Measure("box loss", "test/box_loss", "{:.4f}", losses.get("box_loss", "-")),
        Measure("score loss", "test/score_loss", "{:.4f}", losses.get("score_loss", "-")),
        Measure("IOU of positive boxes", "test/positive_iou", "{:.3f}"),
    ]
    return [
        Measure("IOU", "test/iou", "{:.3f}", gain),
        Measure("IOU, all pairs", "test/pair_iou", "{:.3f}"),
        *(of_proposals if config.proposes_only else []),
        Measure("AP", "test/ap", "{:.3f}"),
        Measure("AP50", "test/ap50", "{:.3f}"),
        Measure("AP75", "test/ap75", "{:.3f}"),
        Measure("recall", "test/recall", "{:.3f}"),
    ]
