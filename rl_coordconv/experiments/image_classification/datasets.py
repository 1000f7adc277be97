"""Datasets whose samples depend on an index and a seed only, in any process."""

from __future__ import annotations

import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset

from rl_coordconv.experiments.image_classification.image_folder import PictureFiles, find_pictures
from rl_coordconv.experiments.image_classification.names import DataSource
from rl_coordconv.experiments.image_classification.small_data import SmallImages, read_small
from rl_coordconv.experiments.image_classification.transforms import (
    evaluation_transform,
    training_transform,
)
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.pictures import N_NAMED, read_rgb

Key = tuple[int, int]
"""Index of a sample, and seed of its augmentation."""


@dataclass(frozen=True)
class Sample:
    """An image and its class.

    Args:
        index: Index in the dataset.
        image: uint8 ``[3, H, W]``; None if it cannot be read.
        label: Index of the class.
    """

    index: int
    image: Tensor | None
    label: int


class LabelledImages(Dataset[Sample], ABC):
    """Labelled images, read one at a time with ``dataset[index, seed]``.

    Args:
        labels: Indices of classes, int64 ``[N]``.
        name: Name of the data in messages.
    """

    reads_files = False
    """Whether images are read from files, so that workers help."""

    def __init__(self, labels: Tensor, name: str) -> None:
        self.labels, self.name = labels, name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> Sample:
        index, seed = key
        return Sample(index, self._read(index, seed), int(self.labels[index]))

    @abstractmethod
    def _read(self, index: int, seed: int) -> Tensor | None:
        """Return an image, uint8 ``[3, H, W]``, or None if it cannot be read."""

    def checksum(self) -> int:
        """Return a number that differs if the samples or their order do."""
        return zlib.crc32(self.labels.numpy().data)

    def report(self, indices: Iterable[int]) -> None:
        """Report samples that cannot be read; data in memory has none."""

    def report_total(self) -> None:
        """Report the number of samples that cannot be read."""


class MemoryImages(LabelledImages):
    """Built-in data, without augmentation.

    A crop could cut off an object, and the mirror image of a quadrant, of a bar or of some digits
    would belong to another class.

    Args:
        data: The images.
        name: Name of the data in messages.
    """

    def __init__(self, data: SmallImages, name: str) -> None:
        super().__init__(data.labels, name)
        self._images = data.images

    def _read(self, index: int, seed: int) -> Tensor:
        return self._images[index]


class FileImages(LabelledImages):
    """Pictures that are read from files when they are needed.

    Args:
        files: The files.
        transform: Maps a PIL image to a tensor, with torch's generator of random numbers.
    """

    reads_files = True

    def __init__(self, files: PictureFiles, transform: Callable[[Any], Tensor]) -> None:
        super().__init__(files.labels, str(files.folder))
        self._files, self._transform = files, transform
        self._unreadable: set[int] = set()
        self._n_reported = 0

    def _read(self, index: int, seed: int) -> Tensor | None:
        image = read_rgb(self._files.path(index))
        if image is None:
            return None
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds GPUs, too
            return self._transform(image)

    def checksum(self) -> int:
        """Return a number that differs if the classes, the files or their order do."""
        return zlib.crc32(self._files.names.data, super().checksum())

    def report(self, indices: Iterable[int]) -> None:
        """Name the first three samples that cannot be read, and count the others."""
        for index in sorted(set(indices) - self._unreadable):
            self._unreadable.add(index)
            if len(self._unreadable) <= N_NAMED:
                self._n_reported = len(self._unreadable)
                print(f"{self._files.path(index)} cannot be read and is skipped.", file=sys.stderr)

    def report_total(self) -> None:
        """Report how many samples cannot be read, if there are more than at the last report."""
        number = len(self._unreadable)
        if number > self._n_reported:
            self._n_reported = number
            print(
                f"{number:,} of {len(self):,} pictures in {self.name} cannot be read"
                " and are skipped.",
                file=sys.stderr,
            )


@dataclass(frozen=True)
class Splits:
    """Data for training and for validation.

    Args:
        train: Images for training, augmented if they are from a folder.
        val: Images for validation.
        classes: Names of the classes.
    """

    train: LabelledImages
    val: LabelledImages
    classes: list[str]


def read_splits(data: str, size: int) -> Splits:
    """Return built-in data, or the pictures of a folder, which are read later.

    Args:
        data: Name of built-in data, see `DataSource`, or a folder, see `find_pictures`.
        size: Height and width of the images, in pixels.

    Raises:
        UserError: There is no such data, the folder lacks something, or the size is too small.
    """
    if data in get_args(DataSource):
        source = cast(DataSource, data)
        train, val = read_small(source, "train", size), read_small(source, "val", size)
        return Splits(MemoryImages(train, data), MemoryImages(val, data), train.classes)
    folder = Path(data)
    if not folder.exists():
        known = ", ".join(get_args(DataSource))
        raise UserError(f"There is no folder {data}; choose a folder or built-in data: {known}.")
    files, classes = find_pictures(folder)
    return Splits(
        FileImages(files["train"], training_transform(size)),
        FileImages(files["val"], evaluation_transform(size)),
        classes,
    )
