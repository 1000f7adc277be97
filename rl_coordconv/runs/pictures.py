"""Picture files of any format that PIL reads, as upright RGB images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""Suffixes of pictures, in lower case; other files are ignored."""

N_NAMED = 3
"""Number of unreadable files that are named in messages."""

_ORIENTATION = 0x0112  # the tag in the metadata; its values are 1 to 8, and 1 is upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_picture(path: Path) -> bool:
    """Return whether a file's name is that of a picture that is not hidden.

    >>> [is_picture(Path(name)) for name in ("a.JPG", "._a.jpg", "a.txt")]
    [True, False, False]
    """
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_rgb(path: Path) -> Image.Image | None:
    """Read a picture as `upright_rgb` does; return None if it cannot be read."""
    try:
        with Image.open(path) as file:
            return upright_rgb(file)
    except MemoryError:
        raise
    except Exception:  # PIL raises errors of many kinds for damaged files
        return None


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB, rotated as its metadata say, with transparent pixels on white.

    Grey images get three equal channels, and 16 bits are reduced to 8.
    """
    image.load()  # PIL rotates a TIFF itself
    # Not ImageOps.exif_transpose: it also rewrites the metadata, and fails if they are damaged.
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):  # PIL would clip 16 bits at 255
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")
