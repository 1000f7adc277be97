"""The paper's metrics: accuracy, distance in pixels, and IOU."""

from __future__ import annotations

import torch
from torch import Tensor


def accuracy(logits: Tensor, pixels: Tensor) -> float:
    """Return the fraction of images whose largest logit is at the true pixel.

    Args:
        logits: ``[B, 1, H, W]``.
        pixels: True pixels, ``[B]``, as indices into the flattened image.
    """
    return (logits.flatten(1).argmax(dim=1) == pixels).double().mean().item()


def predicted_xy(logits: Tensor) -> Tensor:
    """Return column and row, ``[B, 2]``, of each image's largest logit, from ``[B, 1, H, W]``."""
    pixels = logits.flatten(1).argmax(dim=1)
    width = logits.shape[-1]
    return torch.stack([pixels % width, pixels // width], dim=1)


def pixel_distance(predicted: Tensor, xy: Tensor, norm: float = 2) -> float:
    """Return the mean distance between positions, in pixels.

    Args:
        predicted: Predicted column and row, ``[B, 2]``; they need not be integers.
        xy: True column and row, ``[B, 2]``.
        norm: 2 for the Euclidean distance, 1 for the Manhattan distance.
    """
    distances: Tensor = torch.linalg.vector_norm((predicted - xy).double(), norm, dim=1)
    return distances.mean().item()


def iou(logits: Tensor, images: Tensor) -> float:
    """Return the intersection over union (IOU) of predicted and true square, averaged over images.

    A pixel is predicted white if its logit is above 0.

    Args:
        logits: ``[B, 1, H, W]``.
        images: True images of 0 and 1, ``[B, 1, H, W]``, each with at least one 1.
    """
    predicted, true = (logits > 0).flatten(1), (images > 0).flatten(1)
    intersection, union = (predicted & true).sum(dim=1), (predicted | true).sum(dim=1)
    return (intersection.double() / union).mean().item()
