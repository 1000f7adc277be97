"""Shift images, to test whether a classifier recognises objects in other places."""

from __future__ import annotations

import torch
from torch import Tensor

DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
"""Directions of the shifts: rows and columns, down and right first."""


def shift(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Shift every image, and repeat the pixels at the border that it leaves.

    Args:
        images: ``[B, C, H, W]``.
        rows: Pixels to shift down, may be negative, int64 ``[B]``.
        columns: Pixels to shift right, ``[B]``.
    """
    height, width = images.shape[2:]
    i = torch.arange(height, device=images.device) - rows[:, None]
    j = torch.arange(width, device=images.device) - columns[:, None]
    i, j = i.clamp(0, height - 1), j.clamp(0, width - 1)
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    # Indices on both sides of a slice move its axis to the end.
    return images[samples, :, i[:, :, None], j[:, None, :]].permute(0, 3, 1, 2)


def shifted_copies(images: Tensor, pixels: int) -> Tensor:
    """Shift images in each of the four directions, ``[4, B, C, H, W]``."""
    steps = torch.tensor(DIRECTIONS, device=images.device) * pixels
    return torch.stack([shift(images, *step.expand(len(images), 2).T) for step in steps])
