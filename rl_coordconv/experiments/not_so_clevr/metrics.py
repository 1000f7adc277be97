"""The paper's metrics: accuracy, distance in pixels, IOU."""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(logits: Tensor, pixels: Tensor) -> float:
    """Return the share of images whose largest logit is at the right pixel.

    Args:
        logits: ``[B, 1, H, W]``.
        pixels: ``[B]`` indices into a flattened image.
    """
    return (logits.flatten(1).argmax(dim=1) == pixels).double().mean().item()


def predicted_xy(logits: Tensor) -> Tensor:
    """Return the column and row ``[B, 2]`` of the largest of ``[B, 1, H, W]`` logits."""
    pixels = logits.flatten(1).argmax(dim=1)
    width = logits.shape[-1]
    return torch.stack([pixels % width, pixels // width], dim=1)


def pixel_distance(predicted: Tensor, xy: Tensor, norm: float = 2) -> float:
    """Return the mean distance between ``[B, 2]`` positions, in their unit.

    Args:
        predicted: Column and row, whole numbers or fractions.
        xy: The true ones.
        norm: 2 for the Euclidean distance, 1 for the Manhattan distance.
    """
    distances: Tensor = torch.linalg.vector_norm((predicted - xy).double(), norm, dim=1)
    return distances.mean().item()


def iou(logits: Tensor, images: Tensor) -> float:
    """Return the intersection over union of predicted and true square, averaged over images.

    A pixel is predicted white where its logit is above 0.

    Args:
        logits: ``[B, 1, H, W]``.
        images: ``[B, 1, H, W]`` of 0 and 1, in each at least one 1.
    """
    predicted, true = (logits > 0).flatten(1), (images > 0).flatten(1)
    intersection, union = (predicted & true).sum(dim=1), (predicted | true).sum(dim=1)
    return (intersection.double() / union).mean().item()
