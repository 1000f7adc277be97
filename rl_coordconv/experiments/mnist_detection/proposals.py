"""Proposals: the boxes with the best scores, without those that overlap better ones.

`rpn` predicts moves and scores of all anchors; `detections` has the metrics.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms

from rl_coordconv.experiments.mnist_detection.boxes import to_corners
from rl_coordconv.experiments.mnist_detection.detections import Detections

NMS_IOU = 0.8
"""Overlap with a better proposal above which a proposal is left out."""

N_PROPOSALS = 10
"""Most proposals of an image."""

_N_FIRST = 200  # boxes that are nearly always enough for all proposals


@torch.no_grad()
def propose(moved: Tensor, scores: Tensor) -> list[Detections]:
    """Return one to ten proposals of every image, after non-maximum suppression.

    Args:
        moved: Boxes after their predicted moves, ``[B, N, 4]``.
        scores: Logits of object and background, ``[B, N, 2]``.
    """
    chances = scores.softmax(dim=-1)[..., 0]
    order = chances.argsort(dim=1, descending=True, stable=True)
    found = []
    for each, boxes, best in zip(chances, moved, order, strict=True):
        kept = _suppress(boxes, each, best[:_N_FIRST])
        # Suppression goes from the best box to the worst, so further boxes change the rest only.
        if len(kept) < N_PROPOSALS:
            kept = _suppress(boxes, each, best)
        found.append(Detections(boxes[kept], torch.zeros_like(kept), each[kept]))
    return found


def _suppress(boxes: Tensor, chances: Tensor, indices: Tensor) -> Tensor:
    """Return which of the boxes with these indices are proposals, the best one first."""
    kept = nms(to_corners(boxes[indices]), chances[indices], NMS_IOU)
    return indices[kept[:N_PROPOSALS]]
