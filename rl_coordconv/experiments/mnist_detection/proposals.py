"""Proposals of test images, and their metrics: those of the authors' code, and COCO's.

Detections and true boxes are in torchvision's format: one dictionary per image, with the corners
``boxes``, ``labels`` from 1 (0 is the background) and, for detections, ``scores``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision
from torchvision.ops import nms

from rl_coordconv.experiments.mnist_detection.boxes import iou, to_centres, to_corners

Detections = dict[str, Tensor]
"""``boxes``, ``labels`` and perhaps ``scores`` of one image."""

NMS_IOU = 0.8
"""Overlap with a better proposal above which a proposal is left out."""

N_PROPOSALS = 10
"""Most proposals of an image."""

_USUALLY_ENOUGH = 200


@torch.no_grad()
def propose(moved: Tensor, scores: Tensor) -> list[Detections]:
    """Return the best proposals of every image, after non-maximum suppression.

    Args:
        moved: Boxes after their predicted moves, ``[B, N, 4]``.
        scores: Logits of object and background, ``[B, N, 2]``.

    Returns:
        One to ten proposals per image, the best one first, all with the label 1. Their scores are
        probabilities of an object.
    """
    found = []
    for corners, chances in zip(to_corners(moved), scores.softmax(dim=-1)[..., 0], strict=True):
        kept = _suppress(corners, chances)
        found.append(
            {"boxes": corners[kept], "scores": chances[kept], "labels": torch.ones_like(kept)}
        )
    return found


def _suppress(corners: Tensor, chances: Tensor) -> Tensor:
    """Return the indices of the first proposals after non-maximum suppression, best first."""
    order = chances.argsort(descending=True, stable=True)
    # A box can only be left out because of a better one, so the best boxes alone are enough if ten
    # of them are kept; this takes a tenth of the time.
    best = order[:_USUALLY_ENOUGH]
    kept = nms(corners[best], chances[best], NMS_IOU)
    if len(kept) < N_PROPOSALS:
        best, kept = order, nms(corners[order], chances[order], NMS_IOU)
    return best[kept[:N_PROPOSALS]]


def true_detections(objects: Tensor, labels: Tensor | None = None) -> list[Detections]:
    """Return true boxes as detections.

    Args:
        objects: Boxes, ``[B, G, 4]``.
        labels: Labels from 1, int64 ``[B, G]``; 1 for all by default.
    """
    if labels is None:
        labels = torch.ones(objects.shape[:2], dtype=torch.int64, device=objects.device)
    pairs = zip(to_corners(objects), labels, strict=True)
    return [{"boxes": corners, "labels": label} for corners, label in pairs]


def mean_overlaps(found: Sequence[Detections], objects: Tensor) -> dict[str, float]:
    """Return the IOUs that the authors' code reports, averaged over images.

    An image without detections counts as 0.

    Args:
        found: Detections of B images.
        objects: The true boxes, ``[B, G, 4]``.

    Returns:
        ``iou``: the mean over detections of the best IOU with a true box, which is
        ``mean_argmax_nms_iou`` in the authors' code and probably the paper's IOU. ``pair_iou``: the
        mean over all pairs of a detection and a true box, ``mean_nms_iou`` in the authors' code.
    """
    best, pairs = [], []
    for detections, true in zip(found, objects, strict=True):
        overlaps = iou(to_centres(detections["boxes"]), true)  # [n, G]
        share = 1 / max(len(overlaps), 1)
        best.append(overlaps.amax(dim=1).sum() * share)
        pairs.append(overlaps.mean(dim=1).sum() * share)
    return {
        "iou": torch.stack(best).double().mean().item(),
        "pair_iou": torch.stack(pairs).double().mean().item(),
    }


def average_precision(found: Sequence[Detections], true: Sequence[Detections]) -> dict[str, float]:
    """Return COCO's metrics, averaged over labels.

    Args:
        found: Detections of B images; at most 100 per image and label count.
        true: Their true boxes and labels.

    Returns:
        ``ap``: average precision, averaged over IOUs from 0.5 to 0.95. ``ap50`` and ``ap75``: the
        same with an IOU of at least 0.5 or 0.75. ``recall``: the share of true boxes that are
        found, averaged over the same IOUs.
    """
    metric = MeanAveragePrecision()
    metric.update(list(found), list(true))
    values = metric.compute()
    names = {"ap": "map", "ap50": "map_50", "ap75": "map_75", "recall": "mar_100"}
    return {name: values[key].item() for name, key in names.items()}
