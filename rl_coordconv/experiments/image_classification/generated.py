"""Generated images whose class is a position (``quadrants``) or independent of it (``bars``).

``quadrants`` needs position information. A network that has none, and averages its features over
all positions, cannot distinguish the classes; zero padding gives a network some, from the border.
In ``bars``, the position has no influence on the class, so coordinates do not help.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_coordconv.runs.config import UserError

MIN_SIZE = 16
"""Smallest height and width of a generated image, in pixels."""

QUARTERS = ["top left", "top right", "bottom left", "bottom right"]
"""Classes of ``quadrants``."""

DIRECTIONS = ["horizontal", "vertical", "falling", "rising"]
"""Classes of ``bars``; the last two are the diagonals, read from left to right."""

MIN_CONTRAST, NOISE = 96, 16
"""Smallest difference of an object to the background, and largest noise, in each channel."""

_SPECKS = 0.01  # share of pixels anywhere that have the colour of the object
_PIXELS_PER_CHUNK = 2**21  # limits the memory for painting

Masks = npt.NDArray[np.bool_]


def make_quadrants(number: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images with one object each, whose class is its quarter of the image.

    Its shape, its colours and its place in the quarter do not depend on the class. At least one
    pixel is between the object and the border, and between it and the middle lines.

    Args:
        number: Number of images, a quarter of them of each class.
        size: Height and width of an image, in pixels.
        seed: Seed; the first images of a larger set are not those of a smaller one.

    Returns:
        Images, uint8 ``[N, 3, H, W]``, and labels, int64 ``[N]``.

    Raises:
        UserError: The size is smaller than `MIN_SIZE`.
    """
    _check(size)
    rng = np.random.default_rng(seed)
    half, quarter = max(size // 16, 1), size // 2
    labels = _balanced_labels(rng, number)
    places = rng.integers(1 + half, quarter - 1 - half, (number, 2))  # in a quarter: row, column
    offsets = np.stack([labels // 2, labels % 2], axis=1) * (size - quarter)
    shapes = _shapes(half)[rng.integers(3, size=number)]
    return _paint(rng, _masks(places + offsets, shapes, size)), torch.from_numpy(labels)


def make_bars(number: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images with one bar each, whose class is its direction.

    Its place and its colours do not depend on the class.

    Args:
        number: Number of images, a quarter of them of each class.
        size: Height and width of an image, in pixels.
        seed: Seed; the first images of a larger set are not those of a smaller one.

    Returns:
        Images, uint8 ``[N, 3, H, W]``, and labels, int64 ``[N]``.

    Raises:
        UserError: The size is smaller than `MIN_SIZE`.
    """
    _check(size)
    rng = np.random.default_rng(seed)
    half = size // 8
    labels = _balanced_labels(rng, number)
    places = rng.integers(half, size - half, (number, 2))
    return _paint(rng, _masks(places, _bars(half)[labels], size)), torch.from_numpy(labels)


def _check(size: int) -> None:
    if size < MIN_SIZE:
        raise UserError(f"A size of {size} pixels is too small; choose at least {MIN_SIZE}.")


def _balanced_labels(rng: np.random.Generator, number: int) -> npt.NDArray[np.int64]:
    return rng.permutation(np.arange(number) % 4)


def _shapes(half: int) -> Masks:
    """Return a square, a circle and a diamond, ``[3, 2 * half + 1, 2 * half + 1]``."""
    j = np.abs(np.arange(-half, half + 1))
    i = j[:, None]
    square = np.ones((2 * half + 1, 2 * half + 1), dtype=np.bool_)
    return np.stack([square, i**2 + j**2 <= half**2 + half // 2, i + j <= half])


def _bars(half: int) -> Masks:
    """Return a bar of each direction, ``[4, 2 * half + 1, 2 * half + 1]``."""
    j = np.arange(-half, half + 1)
    distances = np.abs(np.broadcast_arrays(j[:, None], j, j[:, None] - j, j[:, None] + j))
    return distances <= max(half // 4, 1)


def _masks(centres: npt.NDArray[np.int64], objects: Masks, size: int) -> Masks:
    """Return the pixels of an object per image, ``[N, H, W]``.

    Args:
        centres: Row and column of the objects, ``[N, 2]``.
        objects: Pixels around them, ``[N, 2 * half + 1, 2 * half + 1]``.
        size: Height and width of an image, in pixels.
    """
    half = objects.shape[1] // 2
    covered = centres[..., None] + np.arange(-half, half + 1)  # [N, 2, 2 * half + 1]
    masks = np.zeros((len(centres), size, size), dtype=np.bool_)
    images = np.arange(len(centres))[:, None, None]
    masks[images, covered[:, 0, :, None], covered[:, 1, None, :]] = objects
    return masks


def _paint(rng: np.random.Generator, masks: Masks) -> Tensor:
    """Paint objects on plain backgrounds, both of random colours, with specks and noise."""
    number, height, width = masks.shape
    images = np.empty((number, 3, height, width), dtype=np.uint8)
    step = max(_PIXELS_PER_CHUNK // (height * width), 1)
    for first in range(0, number, step):
        chunk = masks[first : first + step]
        background = rng.integers(256, size=(len(chunk), 3, 1, 1), dtype=np.int16)
        # Added modulo 256, any colour is as likely as any other.
        contrast = rng.integers(
            MIN_CONTRAST, 256 - MIN_CONTRAST + 1, size=background.shape, dtype=np.int16
        )
        covered = chunk | (rng.random(chunk.shape) < _SPECKS)
        painted = np.where(covered[:, None], (background + contrast) % 256, background)
        painted += rng.integers(-NOISE, NOISE + 1, size=painted.shape, dtype=np.int16)
        images[first : first + step] = painted.clip(0, 255)
    return torch.from_numpy(images)
