"""Two-object Sort-of-CLEVR: a red and a blue object, each a square or a circle, on white.

See Liu et al. 2018, figure 7; sizes and positions are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rl_coordconv.runs.config import UserError

MIN_CANVAS = 16
"""Smallest width and height of an image, in pixels."""

_PIXELS_PER_CHUNK = 2**20  # bounds the memory that drawing needs beside the images


@dataclass(frozen=True)
class Objects:
    """Positions and shapes of a red and a blue object per image.

    Args:
        centres: Centres, int64 ``[N, 2, 2]``: red, then blue; column x, then row y.
        circles: True for a circle, False for a square, ``[N, 2]``: red, then blue.
        canvas: Width and height of the image, in pixels.
    """

    centres: Tensor
    circles: Tensor
    canvas: int

    def __len__(self) -> int:
        return len(self.centres)


def half_width(canvas: int) -> int:
    """Return an object's half width: a circle's radius; a square's side is twice that, plus 1.

    Args:
        canvas: Width and height of the image, in pixels.

    Raises:
        UserError: The canvas is smaller than `MIN_CANVAS`.

    >>> half_width(64)
    10
    """
    if canvas < MIN_CANVAS:
        raise UserError(f"A canvas of {canvas} pixels is too small; choose at least {MIN_CANVAS}.")
    return max(round(10 * canvas / 64), 2)


def place_objects(number: int, canvas: int, seed: int) -> Objects:
    """Draw positions and shapes at random.

    Centres are uniform where the object fits; both are drawn again while they are closer than the
    width of an object. On 64 pixels that is 10 to 53 per axis and a distance of at least 20.

    Args:
        number: Number of images.
        canvas: Width and height of the image, in pixels.
        seed: Seed; the first images of a larger set are not those of a smaller one.

    Raises:
        UserError: The canvas is smaller than `MIN_CANVAS`.
    """
    half = half_width(canvas)
    rng = np.random.default_rng(seed)
    circles = rng.random((number, 2)) < 0.5
    centres = np.empty((number, 2, 2), dtype=np.int64)
    redraw = np.arange(number)
    while len(redraw):
        centres[redraw] = rng.integers(half, canvas - half, (len(redraw), 2, 2))
        difference = centres[redraw, 1] - centres[redraw, 0]
        redraw = redraw[(difference**2).sum(axis=1) < (2 * half) ** 2]
    return Objects(torch.from_numpy(centres), torch.from_numpy(circles), canvas)


def draw(objects: Objects) -> Tensor:
    """Return the images, uint8 ``[N, 3, H, W]``: red is in front of blue, on white."""
    canvas = objects.canvas
    centres, circles = objects.centres, objects.circles
    size = len(objects), 3, canvas, canvas
    images = torch.empty(size, dtype=torch.uint8, device=centres.device)
    chunk = max(_PIXELS_PER_CHUNK // canvas**2, 1)
    parts = zip(images.split(chunk), centres.split(chunk), circles.split(chunk), strict=True)
    for part, part_centres, part_circles in parts:
        red, blue = _covered(part_centres, part_circles, canvas).unbind(dim=1)
        part[:, 0] = red | ~blue
        part[:, 1] = ~(red | blue)
        part[:, 2] = ~red
        part *= 255
    return images


def _covered(centres: Tensor, circles: Tensor, canvas: int) -> Tensor:
    """Return the pixels of each object, bool ``[N, 2, H, W]``."""
    half = half_width(canvas)
    ticks = torch.arange(canvas, dtype=torch.int32, device=centres.device)
    squared = (ticks - centres.int()[..., None]) ** 2  # [N, 2, axis, canvas]
    # A corner of the square has a squared distance of 2 * half ** 2, so pixels beside the square
    # get more than that, and one comparison serves for both shapes.
    squared[squared > half**2] = 2 * half**2 + 1
    limit = torch.where(circles, half**2, 2 * half**2).int()
    columns, rows = squared.unbind(dim=2)
    return columns[:, :, None, :] + rows[:, :, :, None] <= limit[:, :, None, None]


def make_images(number: int, canvas: int, seed: int) -> Tensor:
    """Return random images, uint8 ``[N, 3, H, W]``; see `place_objects`."""
    return draw(place_objects(number, canvas, seed))


def scale(images: Tensor) -> Tensor:
    """Scale uint8 images to float32 in [-1, 1].

    >>> scale(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    return images / 127.5 - 1
