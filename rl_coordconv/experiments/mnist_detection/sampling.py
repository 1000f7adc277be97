"""Choice of the boxes to train region proposals on, and the losses, as in the authors' code.

Shapes do not depend on values, so a CUDA graph can replay a training step. Every tensor is for a
batch of B images with G objects each; N is the number of anchors of an image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rl_coordconv.experiments.mnist_detection.boxes import find_moves, iou, to_corners

N_POSITIVES = 6
"""Most positive pairs of an image."""

N_NEGATIVES = 6
"""Most negative boxes of an image."""

POSITIVE_IOU = 0.5
"""Overlap above which a box and an object are a positive pair."""

NEGATIVE_IOU = 0.1
"""Overlap with every object below which a box is negative."""


class Samples(NamedTuple):
    """Boxes to train on: six positive pairs of a box and an object, then six negative boxes."""

    boxes: Tensor
    """Indices of boxes, ``[B, 12]``."""
    objects: Tensor
    """Indices of the objects of the positive pairs, ``[B, 6]``."""
    drawn: Tensor
    """Bool ``[B, 12]``: False for placeholders, where there were too few candidates."""
    overlaps: Tensor
    """IOU of the boxes and objects of the positive pairs, ``[B, 6]``."""


@torch.no_grad()
def sample(
    moved: Tensor, objects: Tensor, numbers: Tensor, canvas: int, *, released: bool = False
) -> Samples:
    """Draw positive pairs and negative boxes of every image, without replacement.

    A box and an object are a positive pair if no box overlaps the object more, or if their IOU is
    above 0.5 and the box is inside the image. So a box can be in several pairs, and an object is
    in at least one. A box is negative if it is inside the image, is not the best of any object,
    and its IOU with every object is below 0.1.

    The candidates with the largest random numbers are drawn, so equal numbers give equal samples.

    Args:
        moved: Boxes after their predicted moves, ``[B, N, 4]``; not the anchors.
        objects: The true boxes, ``[B, G, 4]``.
        numbers: Uniform random numbers in [0, 1), ``[B, G + 1, N]``: one for every pair of an
            object and a box, and in the last row one for every box as a negative.
        canvas: Width and height of the images, in pixels.
        released: Draw negatives as the authors' code does: none if there are one to six
            candidates, and six boxes that are in no positive pair if there are no candidates. By
            default, as many candidates as there are, up to six.
    """
    overlaps = iou(objects, moved)  # [B, G, N]
    n_boxes = moved.shape[1]
    is_inside = _is_inside(moved, canvas)[:, None]  # [B, 1, N]
    # The first of equal boxes is the best, as in the authors' code.
    best = overlaps.argmax(dim=2, keepdim=True)  # [B, G, 1]
    is_best = torch.arange(n_boxes, device=moved.device) == best
    is_positive = is_best | (is_inside & (overlaps > POSITIVE_IOU))
    is_negative = (is_inside & (overlaps < NEGATIVE_IOU) & ~is_best).all(dim=1)  # [B, N]
    if released:
        has_none = ~is_negative.any(dim=1, keepdim=True)
        is_negative |= has_none & ~is_positive.any(dim=1)
        is_negative &= is_negative.sum(dim=1, keepdim=True) > N_NEGATIVES

    pairs, are_pairs = _draw(is_positive.flatten(1), numbers[:, :-1].flatten(1), N_POSITIVES)
    negatives, are_negatives = _draw(is_negative, numbers[:, -1], N_NEGATIVES)
    return Samples(
        boxes=torch.cat([pairs % n_boxes, negatives], dim=1),
        objects=pairs // n_boxes,
        drawn=torch.cat([are_pairs, are_negatives], dim=1),
        overlaps=overlaps.flatten(1).gather(1, pairs),
    )


def losses(
    moves: Tensor, scores: Tensor, anchors: Tensor, objects: Tensor, samples: Samples
) -> dict[str, Tensor]:
    """Return the losses, averaged over the samples of an image and then over images.

    Args:
        moves: Predicted moves of the anchors, ``[B, N, 4]``.
        scores: Logits of object and background, ``[B, N, 2]``.
        anchors: Boxes before their moves, ``[N, 4]``.
        objects: The true boxes, ``[B, G, 4]``.
        samples: Boxes to train on, of `sample`.

    Returns:
        ``box_loss``: of the moves of positive boxes. ``score_loss``: the cross-entropy of the
        scores. ``loss``: their sum. ``positive_iou``: IOU of positive pairs, without a gradient.
    """
    positives = samples.boxes[:, :N_POSITIVES, None]
    wanted = find_moves(
        anchors[positives[..., 0]], objects.take_along_dim(samples.objects[..., None], dim=1)
    )
    box_losses = box_loss(moves.take_along_dim(positives, dim=1) - wanted)  # [B, 6]

    logits = scores.take_along_dim(samples.boxes[..., None], dim=1)  # [B, 12, 2]
    labels = torch.zeros_like(samples.boxes)
    labels[:, N_POSITIVES:] = 1
    score_losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")  # [B, 12]

    is_pair = samples.drawn[:, :N_POSITIVES]
    mean_box_loss, mean_score_loss = _mean(box_losses, is_pair), _mean(score_losses, samples.drawn)
    return {
        "loss": mean_box_loss + mean_score_loss,
        "box_loss": mean_box_loss,
        "score_loss": mean_score_loss,
        "positive_iou": _mean(samples.overlaps, is_pair),
    }


def box_loss(errors: Tensor) -> Tensor:
    """Return the authors' loss of errors in moves, ``[..., 4]``, summed over a move: ``[...]``.

    It is ``|d|`` if ``|d| > 1`` and ``d ** 2`` otherwise; the usual smooth L1 loss, with ``d ** 2 /
    2`` and ``|d| - 1 / 2``, has a continuous slope.

    >>> box_loss(torch.tensor([3.0, -0.5, 0.0, -1.0]))
    tensor(4.2500)
    """
    size = errors.abs()
    return torch.where(size > 1, size, errors.square()).sum(dim=-1)


def _is_inside(boxes: Tensor, canvas: int) -> Tensor:
    """Return which boxes are inside the image, ``[B, N]``; as for the authors, up to canvas - 1."""
    corners = to_corners(boxes)
    return ((corners >= 0) & (corners <= canvas - 1)).all(dim=-1)


def _draw(is_candidate: Tensor, numbers: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the candidates with the largest numbers, ``[B, most]``, and which are candidates."""
    numbers, indices = torch.where(is_candidate, numbers, -1).topk(most, dim=1)
    return indices, numbers >= 0


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over images of the mean of the values that count, both ``[B, K]``."""
    return (torch.where(counts, values, 0).sum(dim=1) / counts.sum(dim=1)).mean()
