"""Find the red and the blue object in generated images.

The authors' way of finding objects is not released, so this definition is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_coordconv.experiments.generative.data import object_areas

HALF_SATURATION = 0.5
"""Saturation above which a pixel counts as red or blue."""


@dataclass(frozen=True)
class Found:
    """Objects that were found in images, on the CPU; in ``[N, 2]``, red is before blue.

    Args:
        count: Number of objects of each colour, ``[N, 2]``.
        centres: Centres of the largest object of each colour, float64 ``[N, 2, 2]``: column x, then
            row y; NaN if there is none.
        areas: Number of pixels of that object, ``[N, 2]``.
        circles: True if it is a circle, not a square, ``[N, 2]``.
        canvas: Width and height of the images, in pixels.
    """

    count: Tensor
    centres: Tensor
    areas: Tensor
    circles: Tensor
    canvas: int

    @property
    def good(self) -> Tensor:
        """True for images with one object of each colour and of about the right area, ``[N]``.

        The area may be from 3/4 of a circle's to 5/4 of a square's. In the data, red covers at most
        a fifth of a blue object.
        """
        circle, square = object_areas(self.canvas)
        right = (self.areas >= 0.75 * circle) & (self.areas <= 1.25 * square)
        return (right & (self.count == 1)).all(dim=1)


def colour_masks(images: Tensor, threshold: float = HALF_SATURATION) -> Tensor:
    """Return the pixels that are red and those that are blue, bool ``[N, 2, H, W]``.

    A pixel's saturation in red is ``min(R, -G, -B)``: 1 for red, 0 for grey, -1 for white, and 0
    half way between red and white.

    Args:
        images: Images in [-1, 1], ``[N, 3, H, W]``.
        threshold: Saturation above which a pixel counts.
    """
    red, green, blue = images.unbind(dim=1)
    not_green = -green
    return torch.stack(
        [
            torch.minimum(torch.minimum(red, -blue), not_green) > threshold,
            torch.minimum(torch.minimum(blue, -red), not_green) > threshold,
        ],
        dim=1,
    )


def find_objects(images: Tensor, threshold: float = HALF_SATURATION) -> Found:
    """Find the objects of each colour: connected pixels, at least a quarter of a circle's.

    A centre is the middle of the bounding box, because red may cover a corner of a blue object; on
    64 pixels or fewer, it is at most half a pixel from the true centre. An object is a circle if it
    fills less of its box than half way between a real circle and a square.

    Args:
        images: Square images in [-1, 1], ``[N, 3, H, W]``.
        threshold: Saturation above which a pixel counts; see `colour_masks`.
    """
    number, _, _, canvas = images.shape
    circle, square = object_areas(canvas)
    masks = colour_masks(images, threshold).to("cpu", torch.uint8).flatten(0, 1).numpy()
    count = np.zeros(len(masks), dtype=np.int64)
    boxes = np.full((len(masks), 5), np.nan)  # left, top, width, height, area
    for k, mask in enumerate(masks):
        objects = _components(mask)
        objects = objects[objects[:, cv2.CC_STAT_AREA] >= circle / 4]
        count[k] = len(objects)
        if len(objects):
            boxes[k] = objects[objects[:, cv2.CC_STAT_AREA].argmax()]
    corner, size, area = boxes[:, :2], boxes[:, 2:4], boxes[:, 4]
    is_circle = area / size.prod(axis=1) < (circle / square + 1) / 2  # False for NaN
    return Found(
        torch.from_numpy(count).view(number, 2),
        torch.from_numpy(corner + (size - 1) / 2).view(number, 2, 2),
        torch.from_numpy(np.nan_to_num(area).astype(np.int64)).view(number, 2),
        torch.from_numpy(is_circle).view(number, 2),
        canvas,
    )


def _components(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return left, top, width, height and area of 8-connected components, ``[K, 5]``."""
    _, _, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return boxes[1:].astype(np.int32, copy=False)  # the first is the background
