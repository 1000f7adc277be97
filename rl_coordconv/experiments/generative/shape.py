"""The size of the networks, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

from rl_coordconv.runs.config import UserError

MIN_CANVAS = 16
"""Smallest width and height of an image, in pixels."""

START = 4
"""Width and height of the smallest feature maps, in pixels."""


@dataclass(frozen=True)
class Shape:
    """The settings that determine the size of a network.

    Args:
        canvas: Width and height of the images in pixels, a power of 2 and at least 16.
        latent_size: Number of latent variables.
        channels: Width multiplier; 64 in the paper.
    """

    canvas: int = 64
    latent_size: int = 256
    channels: int = 64

    def __post_init__(self) -> None:
        check_canvas(self.canvas)

    @property
    def widths(self) -> list[int]:
        """Channels of the feature maps from the largest to the smallest, half a size at a time."""
        n_halvings = (self.canvas // START).bit_length() - 1
        return [self.channels * 2**n for n in range(n_halvings)]


def check_canvas(canvas: int) -> None:
    """Raise a `UserError` unless images of this size can be halved to `START` pixels."""
    if canvas < MIN_CANVAS or canvas & (canvas - 1):
        raise UserError(f"The canvas must be a power of 2 and at least {MIN_CANVAS}, not {canvas}.")
