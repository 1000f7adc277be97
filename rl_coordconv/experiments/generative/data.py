"""Two-object Sort-of-CLEVR: a red and a blue object, each a square or a circle, on white.

See Liu et al. 2018, figure 7; sizes and positions are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rl_coordconv.experiments.generative.shape import MIN_CANVAS
from rl_coordconv.runs.config import UserError

_PIXELS_PER_CHUNK = 2**20  # limits the memory for drawing


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


def object_areas(canvas: int) -> tuple[int, int]:
    """Return the number of pixels of a circle and of a square.

    >>> object_areas(64)
    (317, 441)
    """
    centres = torch.full((1, 2, 2), half_width(canvas))
    covered = _covered(centres, torch.tensor([[True, False]]), canvas)
    circle, square = covered.sum(dim=(0, 2, 3)).tolist()
    return circle, square


def place_objects(number: int, canvas: int, seed: int) -> Objects:
    """Draw positions and shapes at random.

    Centres are uniform where an object fits, but the red one is drawn again while it is closer to
    the blue one than an object's width. On 64 pixels, they are 10 to 53 per axis, at a distance of
    at least 20, as in the authors' code.

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
    blue = rng.integers(half, canvas - half, (number, 2))
    red = np.empty_like(blue)
    redraw = np.arange(number)
    while len(redraw):
        red[redraw] = rng.integers(half, canvas - half, (len(redraw), 2))
        squared = ((red[redraw] - blue[redraw]) ** 2).sum(axis=1)
        redraw = redraw[squared < (2 * half) ** 2]
    centres = np.stack([red, blue], axis=1)
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
