"""Canvases with MNIST digits of different sizes, which may overlap and be cut off.

See Liu et al. 2018, section 5; the construction is that of the authors' code, whose data were not
released. Digits are placed on a larger canvas, whose middle is kept if it has the right number of
centres; the parts of other digits that reach into it have no box. The paper does not say how many
digits are placed; here 12, for which 5 is the most likely number of centres. Sizes and corners are
whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_coordconv.experiments.mnist_detection.digits import Array, Digits
from rl_coordconv.runs.config import UserError

MIN_SIZE, MAX_SIZE = 15, 25
"""Smallest and largest height and width of a digit, in pixels."""

_MARGIN = 28  # pixels around the canvas; 120 in all for the paper's 64, as in the authors' code


@dataclass(frozen=True)
class Canvases:
    """Images with digits.

    Args:
        images: uint8 ``[N, 1, H, W]``.
        boxes: ``(i, j, h, w)`` in pixels, float32 ``[N, D, 4]``; they may extend beyond the canvas.
        digits: 0 to 9, int64 ``[N, D]``.
    """

    images: Tensor
    boxes: Tensor
    digits: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor | slice) -> Canvases:
        return Canvases(self.images[indices], self.boxes[indices], self.digits[indices])

    def to(self, device: torch.device) -> Canvases:
        """Return the canvases on a device."""
        return Canvases(self.images.to(device), self.boxes.to(device), self.digits.to(device))


def make_canvases(
    number: int, digits: Digits, seed: int, size: int = 64, n_digits: int = 5
) -> Canvases:
    """Return random canvases.

    Args:
        number: Number of canvases.
        digits: The digits to draw from.
        seed: Seed; the first canvases of a larger set are not those of a smaller one.
        size: Height and width of a canvas, in pixels.
        n_digits: Number of digits with their centre on each canvas.

    Raises:
        UserError: The canvas is too small for a digit, or for that many.
    """
    places = place_digits(number, seed, size, n_digits)
    rng = np.random.default_rng([seed, 1])
    chosen = rng.integers(len(digits.labels), size=places.shape[:2])
    canvases = draw_canvases(digits, chosen, places, size)
    return Canvases(canvases.images, canvases.boxes[:, :n_digits], canvases.digits[:, :n_digits])


def draw_canvases(digits: Digits, chosen: Array, places: Array, size: int) -> Canvases:
    """Return canvases with chosen digits in given places; all have a box.

    Args:
        digits: The digits to choose from.
        chosen: Indices of digits, ``[N, D]``.
        places: ``(top, left, height, width)`` in pixels, ``[N, D, 4]``; at most 28 off the canvas.
        size: Height and width of a canvas, in pixels.
    """
    ink = {index: _crop_to_ink(digits.images[index]) for index in np.unique(chosen).tolist()}
    images = np.empty((len(places), 1, size, size), dtype=np.uint8)
    for image, own_places, indices in zip(images, places.tolist(), chosen.tolist(), strict=True):
        image[0] = _draw([ink[index] for index in indices], own_places, size)
    corners, sizes = np.split(places.astype(np.float32), 2, axis=-1)
    return Canvases(
        torch.from_numpy(images),
        torch.from_numpy(np.concatenate([corners + sizes / 2, sizes], axis=-1)),
        torch.from_numpy(digits.labels[chosen]),
    )


def place_digits(number: int, seed: int, size: int, n_digits: int) -> Array:
    """Return random places of digits: ``(top, left, height, width)``, ``[N, placed, 4]``.

    The first ``n_digits`` of each canvas have their centre on it, and the others do not. All are
    independent, and distributed as if whole canvases with another number of centres were rejected:
    given the number of centres on a canvas, the digits on it and the others are independent.

    Args:
        number: Number of canvases.
        seed: Seed.
        size: Height and width of a canvas, in pixels.
        n_digits: Number of digits with their centre on a canvas.

    Raises:
        UserError: The canvas is too small for a digit, or for that many.
    """
    check_canvas(size, n_digits)
    rng = np.random.default_rng([seed, 0])
    inside = _draw_places(rng, number * n_digits, size, inside=True)
    others = _draw_places(rng, number * (n_placed(size, n_digits) - n_digits), size, inside=False)
    return np.concatenate([x.reshape(number, -1, 4) for x in (inside, others)], axis=1)


def check_canvas(size: int, n_digits: int) -> None:
    """Check that a canvas has space for this number of digits.

    Args:
        size: Height and width of the canvas, in pixels.
        n_digits: Number of digits with their centre on the canvas.

    Raises:
        UserError: It is too small for a digit, or for that many.
    """
    fitting = size**2 // ((MIN_SIZE + MAX_SIZE) // 2) ** 2
    if size < MAX_SIZE:
        raise UserError(f"A canvas of {size} pixels is too small; choose at least {MAX_SIZE}.")
    if n_digits > fitting:
        raise UserError(
            f"A canvas of {size} pixels has space for {fitting} digits, not {n_digits}."
        )


def n_placed(size: int, n_digits: int) -> int:
    """Return the number of digits to place, so that ``n_digits`` centres on a canvas are likely.

    >>> n_placed(64, 5)
    12
    """
    sizes = np.arange(MIN_SIZE, MAX_SIZE + 1)
    share = float((size / (size + 2 * _MARGIN - sizes + 1)).mean()) ** 2  # of centres on the canvas
    return round(n_digits / share)


def _draw_places(rng: np.random.Generator, number: int, size: int, inside: bool) -> Array:
    """Draw places with their centre on the canvas, or off it, by rejecting the others."""
    found = np.empty((0, 4), dtype=np.int64)
    while len(found) < number:
        sizes = rng.integers(MIN_SIZE, MAX_SIZE + 1, (2 * number, 2))
        corners = rng.integers(-_MARGIN, size + _MARGIN - sizes + 1)
        doubled = 2 * corners + sizes  # twice the centre
        on_canvas = ((doubled >= 0) & (doubled < 2 * size)).all(axis=1)
        places = np.concatenate([corners, sizes], axis=1)[on_canvas == inside]
        found = np.concatenate([found, places])
    return found[:number]


def _crop_to_ink(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the smallest part of a digit's image that has all pixels above 0."""
    left, top, width, height = cv2.boundingRect(image)
    return image[top : top + height, left : left + width]


def _draw(ink: list[Any], places: list[list[int]], size: int) -> npt.NDArray[np.uint8]:
    """Add digits, resized to their places, and clip the sum at white."""
    total = np.zeros((size + 2 * _MARGIN, size + 2 * _MARGIN), dtype=np.uint16)
    for digit, (top, left, height, width) in zip(ink, places, strict=True):
        i, j = top + _MARGIN, left + _MARGIN
        total[i : i + height, j : j + width] += cv2.resize(digit, (width, height))  # bilinear
    return total[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].clip(max=255).astype(np.uint8)
