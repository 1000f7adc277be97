"""Boxes as ``(i, j, h, w)``: row and column of the centre, height and width.

All are in pixels; coordinates run along the pixels' edges, so the first pixel covers 0 to 1, and
the centre of an image of 64 pixels is 32.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rl_coordconv.experiments.mnist_detection.names import Anchors

STRIDE = 4
"""Pixels between the centres of neighbouring cells of anchors."""

ANCHOR_SIZES = torch.tensor(
    [(15, 15), (20, 20), (25, 25), (15, 20), (20, 25), (20, 15), (25, 20), (15, 25), (25, 15)],
    dtype=torch.float32,
)
"""Height and width of a cell's anchors, ``[9, 2]``, as in the authors' code."""

_FIRST_CENTRE = 8  # the first cell of the network without padding sees the pixels 0 to 15


def to_corners(boxes: Tensor) -> Tensor:
    """Convert boxes ``[..., 4]`` to torchvision's ``(x1, y1, x2, y2)``.

    >>> to_corners(torch.tensor([10.0, 20.0, 4.0, 6.0]))
    tensor([17.,  8., 23., 12.])
    """
    i, j, h, w = boxes.unbind(-1)
    return torch.stack([j - w / 2, i - h / 2, j + w / 2, i + h / 2], dim=-1)


def to_centres(corners: Tensor) -> Tensor:
    """Convert torchvision's ``(x1, y1, x2, y2)``, ``[..., 4]``, to boxes.

    >>> to_centres(torch.tensor([17.0, 8.0, 23.0, 12.0]))
    tensor([10., 20.,  4.,  6.])
    """
    x1, y1, x2, y2 = corners.unbind(-1)
    return torch.stack([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1], dim=-1)


def clip(boxes: Tensor, size: int) -> Tensor:
    """Return the parts of boxes ``[..., 4]`` on a canvas of ``size`` rows and columns.

    >>> clip(torch.tensor([2.0, 30.0, 10.0, 6.0]), 32)
    tensor([ 3.5000, 29.5000,  7.0000,  5.0000])
    """
    return to_centres(to_corners(boxes).clamp(0, size))


def apply_moves(boxes: Tensor, moves: Tensor) -> Tensor:
    """Move and scale boxes: ``(i + ti h, j + tj w, h exp(th), w exp(tw))``.

    Args:
        boxes: ``[..., 4]``.
        moves: ``(ti, tj, th, tw)``, ``[..., 4]``; the shapes of both are broadcast.
    """
    centres, sizes = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centres + moves[..., :2] * sizes, sizes * moves[..., 2:].exp()], dim=-1)


def find_moves(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the moves that turn boxes into targets: the inverse of `apply_moves`.

    Args:
        boxes: ``[..., 4]``.
        targets: Boxes ``[..., 4]``; the shapes of both are broadcast.
    """
    sizes = boxes[..., 2:]
    shifts = (targets[..., :2] - boxes[..., :2]) / sizes
    return torch.cat([shifts, (targets[..., 2:] / sizes).log()], dim=-1)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of every pair of boxes, ``[..., N, M]``, in [0, 1].

    Unlike torchvision's ``box_iou``, which this equals, it compares the boxes of many images at
    once.

    Args:
        first: ``[..., N, 4]``.
        second: ``[..., M, 4]``; the leading shapes of both are broadcast.
    """
    a, b = to_corners(first)[..., :, None, :], to_corners(second)[..., None, :, :]
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    common = sides.clamp(min=0).prod(dim=-1)
    areas = first[..., 2:].prod(dim=-1)[..., :, None] + second[..., 2:].prod(dim=-1)[..., None, :]
    return common / (areas - common)


def anchors(rows: int, columns: int, kind: Anchors) -> Tensor:
    """Return the anchors of every cell of a feature map, float32 ``[R, C, 9, 4]``.

    Args:
        rows: Rows of the map.
        columns: Columns of the map.
        kind: ``repaired``: every anchor is centred on its cell. ``released``: the table of the
            authors' code, which lists a cell's nine rows, nine columns, nine heights and nine
            widths, but reads these 36 numbers as nine boxes. So most anchors are far from their
            cell, and the last four are the same in every cell.
    """
    i = _FIRST_CENTRE + STRIDE * torch.arange(rows, dtype=torch.float32)
    j = _FIRST_CENTRE + STRIDE * torch.arange(columns, dtype=torch.float32)
    centres = torch.stack(torch.meshgrid(i, j, indexing="ij"), dim=-1)  # [R, C, 2]
    n_sizes = len(ANCHOR_SIZES)
    table = torch.cat(
        [
            centres[:, :, None].expand(-1, -1, n_sizes, -1),
            ANCHOR_SIZES.expand(rows, columns, -1, -1),
        ],
        dim=-1,
    )
    if kind == "released":
        return table.transpose(2, 3).reshape(rows, columns, n_sizes, 4)
    return table
