"""The measures in tables, ours beside the paper's."""

from __future__ import annotations

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.paper import IOU_GAIN, LOSSES
from rl_coordconv.runs.closing import Measure


def measures(config: DetectionConfig) -> list[Measure]:
    """Return the measures of a run, in the order of tables."""
    part = config.evaluate_on
    losses = LOSSES.get(config.model, {})
    gain = f"{IOU_GAIN:.0%} above rpn-conv" if config.model == "rpn-coordconv" else "-"
    of_proposals = [
        Measure("loss", f"{part}/loss", "{:.4f}", losses.get("loss", "-")),
        Measure("box loss", f"{part}/box_loss", "{:.4f}", losses.get("box_loss", "-")),
        Measure("score loss", f"{part}/score_loss", "{:.4f}", losses.get("score_loss", "-")),
        Measure("IOU of positive boxes", f"{part}/positive_iou", "{:.3f}"),
    ]
    return [
        Measure("IOU", f"{part}/iou", "{:.3f}", gain),
        Measure("IOU, all pairs", f"{part}/pair_iou", "{:.3f}"),
        *(of_proposals if config.proposes_only else []),
        Measure("AP", f"{part}/ap", "{:.3f}"),
        Measure("AP50", f"{part}/ap50", "{:.3f}"),
        Measure("AP75", f"{part}/ap75", "{:.3f}"),
        Measure("recall", f"{part}/recall", "{:.3f}"),
        Measure("single digits: IOU", "probe/iou", "{:.3f}"),
        Measure("single digits: error of the centre, pixels", "probe/centre_error", "{:.2f}"),
        Measure("single digits: deviation of the IOU in the middle", "probe/iou_std", "{:.3f}"),
    ]
