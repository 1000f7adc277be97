"""Animations as GIF files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from torch import Tensor

from rl_coordconv.runs.files import atomic_write


def save_animation(frames: Tensor, file: Path) -> None:
    """Save frames ``[T, 3, H, W]`` in [0, 1] as a GIF, ten per second."""
    bytes_ = (frames * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    # Dithering looks like noise in enlarged images, and multiplies the size of the file.
    octree, plain = Image.Quantize.FASTOCTREE, Image.Dither.NONE
    images = [Image.fromarray(x).quantize(method=octree, dither=plain) for x in bytes_]
    first, *others = images
    with atomic_write(file) as path:
        first.save(path, save_all=True, append_images=others, duration=100, loop=0)
