"""Images of the user, such as the LSUN bedrooms of Liu et al. 2018, from a folder of files."""

from __future__ import annotations

import os
import sys
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import require_folder
from rl_coordconv.runs.pictures import N_NAMED, SUFFIXES, is_picture, upright_rgb

_GREY = {"1", "L", "LA", "I", "F"}  # PIL's modes, without the number of bits in "I;16"


def read_folder(folder: Path, canvas: int, most: int = sys.maxsize) -> Tensor:
    """Read the images of a folder and its subfolders, sorted by path.

    The shorter side is resized to the canvas, with antialiasing, and the middle of the longer one
    is kept. Transparent pixels are put on white. Names that begin with a dot are ignored, and files
    that cannot be read are skipped and reported on stderr.

    Args:
        folder: The folder; names of subfolders, such as those of classes, do not matter.
        canvas: Width and height of the returned images, in pixels.
        most: Most files to read; of more, evenly spaced ones are read.

    Returns:
        The images, uint8 ``[N, 3, H, W]``.

    Raises:
        UserError: The folder does not exist, has no readable image, or has grey images.
    """
    paths = _image_paths(folder)
    paths = paths[:: -(-len(paths) // most)]
    images = np.empty((len(paths), 3, canvas, canvas), dtype=np.uint8)
    number, coloured = 0, False
    unreadable: list[Path] = []
    with ThreadPool(torch.get_num_threads()) as pool:  # PIL decodes and resizes without the GIL
        read = pool.imap(partial(_read_image, canvas=canvas), paths, chunksize=16)
        for path, image in zip(paths, read, strict=True):
            if image is None:
                unreadable.append(path)
                continue
            images[number] = image
            number += 1
            coloured = coloured or bool((image != image[:1]).any())
    if number == 0:
        raise UserError(f"No image in {folder} can be read.")
    if not coloured:
        raise UserError(f"All images in {folder} are grey; choose a folder of colour images.")
    if unreadable:
        print(_skipped(unreadable, len(paths)), file=sys.stderr)
    return torch.from_numpy(images[:number])


def _image_paths(folder: Path) -> list[Path]:
    require_folder(folder)
    seen: set[str] = set()  # links may form a circle
    paths: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += filter(is_picture, (Path(parent, name) for name in files))
    if not paths:
        known = ", ".join(sorted(SUFFIXES))
        raise UserError(f"There is no image in {folder}; files must end in one of {known}.")
    return sorted(paths)


def _read_image(path: Path, canvas: int) -> npt.NDArray[np.uint8] | None:
    """Return one image, ``[3, H, W]``, or None if it cannot be read."""
    try:
        with Image.open(path) as file:
            grey = file.mode.partition(";")[0] in _GREY
            image = None if grey else upright_rgb(file)
    except Exception:  # as in `read_rgb`
        return None
    if image is None:
        raise UserError(f"{path} is a grey image; remove it or convert it to colour.")
    image = ImageOps.fit(image, (canvas, canvas), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def _skipped(paths: list[Path], number: int) -> str:
    names = ", ".join(str(path) for path in paths[:N_NAMED])
    rest = f" and {len(paths) - N_NAMED} more" if len(paths) > N_NAMED else ""
    return f"{len(paths)} of {number} images cannot be read and are skipped: {names}{rest}."
