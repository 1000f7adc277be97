"""Boxes found in images, and their metrics: those of the authors' code, and COCO's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from rl_coordconv.experiments.mnist_detection.boxes import iou, to_corners


@dataclass(frozen=True)
class Detections:
    """The digits found in an image.

    Args:
        boxes: ``(i, j, h, w)`` in pixels, ``[K, 4]``.
        digits: 0 to 9, ``[K]``; all 0 if only boxes are predicted.
        scores: Probabilities of the digits, or of any digit, in descending order, ``[K]``.
    """

    boxes: Tensor
    digits: Tensor
    scores: Tensor

    def __getitem__(self, indices: slice) -> Detections:
        return Detections(self.boxes[indices], self.digits[indices], self.scores[indices])

    def cpu(self) -> Detections:
        """Return the detections on the CPU."""
        return Detections(self.boxes.cpu(), self.digits.cpu(), self.scores.cpu())


def mean_overlaps(found: Sequence[Detections], boxes: Tensor) -> dict[str, float]:
    """Return the IOUs that the authors' code reports, averaged over images.

    An image without detections counts as 0.

    Args:
        found: Detections in B images.
        boxes: The true boxes, ``[B, G, 4]``.

    Returns:
        ``iou``: the mean over detections of the best IOU with a true box, which is
        ``mean_argmax_nms_iou`` in the authors' code and probably the paper's IOU. ``pair_iou``: the
        mean over all pairs of a detection and a true box, ``mean_nms_iou`` in the authors' code.
    """
    best, pairs = [], []
    for each, true in zip(found, boxes, strict=True):
        overlaps = iou(each.boxes, true)  # [K, G]
        share = 1 / max(len(overlaps), 1)
        best.append(overlaps.amax(dim=1).sum() * share)
        pairs.append(overlaps.mean(dim=1).sum() * share)
    return {
        "iou": torch.stack(best).double().mean().item(),
        "pair_iou": torch.stack(pairs).double().mean().item(),
    }


def average_precision(
    found: Sequence[Detections], boxes: Tensor, digits: Tensor | None = None
) -> dict[str, float]:
    """Return COCO's metrics.

    Args:
        found: Detections in B images; the best 100 of each digit in an image count.
        boxes: The true boxes, ``[B, G, 4]``.
        digits: Their digits, ``[B, G]``, of which the metrics are means; None to compare boxes
            only.

    Returns:
        ``ap``: average precision, averaged over IOUs from 0.5 to 0.95. ``ap50`` and ``ap75``: the
        same for an IOU of 0.5 and of 0.75. ``recall``: the share of true boxes that are found,
        averaged over the same IOUs.
    """
    true_digits = boxes.new_zeros(boxes.shape[:2]).long() if digits is None else digits
    metric = MeanAveragePrecision()
    metric.update(
        [
            {
                "boxes": to_corners(each.boxes),
                "labels": torch.zeros_like(each.digits) if digits is None else each.digits,
                "scores": each.scores,
            }
            for each in found
        ],
        [
            {"boxes": corners, "labels": labels}
            for corners, labels in zip(to_corners(boxes), true_digits, strict=True)
        ],
    )
    values = metric.compute()
    names = {"ap": "map", "ap50": "map_50", "ap75": "map_75", "recall": "mar_100"}
    return {name: values[key].item() for name, key in names.items()}
