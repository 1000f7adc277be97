"""Pictures in folders like ImageNet's: ``train/CLASS/*.jpg`` and ``val/CLASS/*.jpg``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.datasets.folder import make_dataset

from rl_coordconv.experiments.image_classification.names import Part
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import require_folder
from rl_coordconv.runs.pictures import N_NAMED, SUFFIXES, is_picture

_PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class PictureFiles:
    """Files of pictures with their classes.

    Args:
        folder: The folder of the part, such as ``FOLDER/train``.
        names: Paths in the folder, as bytes ``[N]``. An array needs a tenth of the memory of a
            list, of which each worker would have a copy, for ImageNet's 1.3 million files.
        labels: Indices of classes, int64 ``[N]``.
    """

    folder: Path
    names: npt.NDArray[np.bytes_]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """Return the path of a picture."""
        return self.folder / os.fsdecode(self.names[index])


def find_pictures(folder: Path) -> tuple[dict[Part, PictureFiles], list[str]]:
    """Find the pictures of both parts, sorted by class and path; none is read.

    Subfolders of a class belong to it. Names that begin with a dot are ignored.

    Args:
        folder: The folder with ``train`` and ``val``, each with a folder per class.

    Returns:
        The files of each part, and the names of the classes.

    Raises:
        UserError: A folder is missing or cannot be read, there are fewer than two classes, the
            parts have different ones, or a class has no picture.
    """
    require_folder(folder)
    for part in _PARTS:
        if not (folder / part).is_dir():
            raise UserError(
                f"There is no folder {part!r} in {folder}; "
                "it needs train/CLASS/ and val/CLASS/ with pictures."
            )
    train, val = (_class_names(folder / part) for part in _PARTS)
    if different := sorted(set(train) ^ set(val)):
        raise UserError(
            f"These classes are in only one of train and val in {folder}: {_name(different)}."
        )
    if len(train) == 1:
        raise UserError(f"{folder} has only one class, {train[0]!r}; at least two are needed.")
    return {part: _find(folder / part, train) for part in _PARTS}, train


def _class_names(folder: Path) -> list[str]:
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from None
    names = sorted(name for name in names if not name.startswith("."))
    if not names:
        raise UserError(f"There is no folder in {folder}; it needs a folder of pictures per class.")
    return names


def _find(folder: Path, classes: list[str]) -> PictureFiles:
    found = make_dataset(
        folder,
        {name: label for label, name in enumerate(classes)},
        is_valid_file=lambda path: is_picture(Path(path)),
        allow_empty=True,
    )
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    numbers = labels.bincount(minlength=len(classes)).tolist()
    if empty := [name for name, number in zip(classes, numbers, strict=True) if not number]:
        known = ", ".join(sorted(SUFFIXES))
        raise UserError(
            f"There is no picture in {folder} of the class {_name(empty)}; "
            f"files must end in one of {known}."
        )
    names = [os.fsencode(os.path.relpath(path, folder)) for path, _ in found]
    return PictureFiles(folder, np.array(names), labels)


def _name(classes: Iterable[str]) -> str:
    """Return the first names and the number of others."""
    names = list(classes)
    more = f" and {len(names) - N_NAMED} more" if len(names) > N_NAMED else ""
    return ", ".join(names[:N_NAMED]) + more
