"""What is reported of a detector: the rows of tables, ours beside the paper's."""

from __future__ import annotations

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.paper import IOU_GAIN, LOSSES
from rl_coordconv.runs.closing import Row


def rows(config: DetectionConfig) -> list[Row]:
    """Return what is reported of a run, in the order of tables."""
    losses = LOSSES.get(config.model, {})
    gain = f"{IOU_GAIN:.0%} above rpn-conv" if config.model == "rpn-coordconv" else "-"
    of_proposals = [
        Row("loss", "test/loss", "{:.4f}", losses.get("loss", "-")),
        Row("box loss", "test/box_loss", "{:.4f}", losses.get("box_loss", "-")),
        Row("score loss", "test/score_loss", "{:.4f}", losses.get("score_loss", "-")),
        Row("IOU of positive boxes", "test/positive_iou", "{:.3f}"),
    ]
    return [
        Row("IOU", "test/iou", "{:.3f}", gain),
        Row("IOU, all pairs", "test/pair_iou", "{:.3f}"),
        *(of_proposals if config.proposes_only else []),
        Row("AP", "test/ap", "{:.3f}"),
        Row("AP50", "test/ap50", "{:.3f}"),
        Row("AP75", "test/ap75", "{:.3f}"),
        Row("recall", "test/recall", "{:.3f}"),
    ]
