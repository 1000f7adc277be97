"""Not-so-Clevr: one white square on a black canvas, at every position where it fits.

Liu et al. 2018, section 4. The authors' generator draws grey squares, which cap the IOU at 0.502;
these are white, as in the paper's figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rl_coordconv.runs.config import UserError, nearest

PARTS = ("train", "test")
"""The names of the two parts that `split` returns, in order."""

# The authors' seed and threshold: 768 of 3,136 for testing, while the paper says a fifth.
_UNIFORM_SEED, _UNIFORM_TEST_SHARE = 20202, 0.25


@dataclass(frozen=True)
class Samples:
    """Squares, given by their centres; images are drawn at the first access and cached.

    Args:
        xy: ``[N, 2]`` whole numbers: the column x, then the row y, of each centre.
        canvas: Pixels along a side of the image.
        square: Pixels along a side of the square, an odd number.
    """

    xy: Tensor
    canvas: int
    square: int

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def pixels(self) -> Tensor:
        """``[N]``: the index of each centre among the pixels of a flattened image."""
        return self.xy[:, 1] * self.canvas + self.xy[:, 0]

    @cached_property
    def one_hots(self) -> Tensor:
        """``[N, 1, H, W]``: 1 at the centre, 0 elsewhere."""
        flat = torch.zeros(len(self), self.canvas**2, device=self.xy.device)
        flat.scatter_(1, self.pixels[:, None], 1.0)
        return flat.view(-1, 1, self.canvas, self.canvas)

    @cached_property
    def images(self) -> Tensor:
        """``[N, 1, H, W]``: 1 in the square, 0 elsewhere."""
        ticks = torch.arange(self.canvas, device=self.xy.device)
        covered = (ticks - self.xy[:, :, None]).abs() <= self.square // 2  # [N, 2, canvas]
        columns, rows = covered[:, 0], covered[:, 1]
        return (rows[:, None, :, None] & columns[:, None, None, :]).float()

    def to(self, device: torch.device | str) -> Samples:
        """Return the same samples on another device."""
        return Samples(self.xy.to(device), self.canvas, self.square)


def normalise(xy: Tensor, canvas: int) -> Tensor:
    """Scale columns and rows like the coordinate channels: -1 to 1, ends included.

    The authors feed the whole numbers instead.

    >>> normalise(torch.tensor([[0, 63]]), 64)
    tensor([[-1.,  1.]])
    """
    return xy.float() * (2 / (canvas - 1)) - 1


def split(name: str, canvas: int = 64, square: int = 9) -> tuple[Samples, Samples]:
    """Split all positions of the square into training and test samples.

    Args:
        name: ``uniform`` (2,368 and 768 samples on the paper's canvas, drawn with the authors'
            seed) or ``quadrant`` (2,407 and 729; the lower right quarter is for testing).
        canvas: Pixels along a side of the image.
        square: Pixels along a side of the square.

    Returns:
        The training samples and the test samples, by column, then row.

    Raises:
        UserError: There is no such split, or one of its parts is empty for these sizes.
    """
    if name not in SPLITS:
        raise UserError(f"There is no split {name!r}; {nearest(name, SPLITS)}")
    if square < 1 or square % 2 == 0:
        raise UserError(f"The square's side must be odd, so that it has a centre, not {square}.")
    if square > canvas:
        raise UserError(f"A square of {square} pixels does not fit on a canvas of {canvas}.")
    places = torch.arange(square // 2, canvas - square // 2)
    xy = torch.cartesian_prod(places, places)
    tested = SPLITS[name](xy, canvas)
    if tested.all() or not tested.any():
        raise UserError(
            f"A square of {square} pixels on a canvas of {canvas} has too few places"
            f" for the {name} split."
        )
    return Samples(xy[~tested], canvas, square), Samples(xy[tested], canvas, square)


def _uniform_test(xy: Tensor, canvas: int) -> Tensor:
    stream = np.random.RandomState(_UNIFORM_SEED)  # the authors' stream
    return torch.from_numpy(stream.random_sample(len(xy)) < _UNIFORM_TEST_SHARE)


def _quadrant_test(xy: Tensor, canvas: int) -> Tensor:
    return (2 * xy > canvas).all(dim=1)


SPLITS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "uniform": _uniform_test,
    "quadrant": _quadrant_test,
}
