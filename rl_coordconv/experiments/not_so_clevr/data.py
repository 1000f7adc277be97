"""Not-so-Clevr: one white square on a black canvas, at every position where it fits.

See Liu et al. 2018, section 4. The authors' code draws grey squares, which limits the IOU to 0.502;
here they are white, as in the paper's figures.
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
"""Names of the parts that `split` returns, in order."""

# Seed and threshold of the authors' code: 768 of 3,136 samples for testing; the paper says 20%.
_UNIFORM_SEED, _UNIFORM_TEST_SHARE = 20202, 0.25


@dataclass(frozen=True)
class Samples:
    """Samples, given by the centres of squares; images are drawn on first access and cached.

    Args:
        xy: Centres, integers ``[N, 2]``: column x, then row y.
        canvas: Width and height of the image, in pixels.
        square: Width and height of the square, an odd number of pixels.
    """

    xy: Tensor
    canvas: int
    square: int

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def pixels(self) -> Tensor:
        """Index of each centre in the flattened image, ``[N]``."""
        return self.xy[:, 1] * self.canvas + self.xy[:, 0]

    @cached_property
    def one_hots(self) -> Tensor:
        """Images of the centre, ``[N, 1, H, W]``: 1 at the centre, 0 elsewhere."""
        flat = torch.zeros(len(self), self.canvas**2, device=self.xy.device)
        flat.scatter_(1, self.pixels[:, None], 1.0)
        return flat.view(-1, 1, self.canvas, self.canvas)

    @cached_property
    def images(self) -> Tensor:
        """Images of the square, ``[N, 1, H, W]``: 1 in the square, 0 elsewhere."""
        ticks = torch.arange(self.canvas, device=self.xy.device)
        covered = (ticks - self.xy[:, :, None]).abs() <= self.square // 2  # [N, 2, canvas]
        columns, rows = covered[:, 0], covered[:, 1]
        return (rows[:, None, :, None] & columns[:, None, None, :]).float()

    def to(self, device: torch.device | str) -> Samples:
        """Return the same samples on another device."""
        return Samples(self.xy.to(device), self.canvas, self.square)


def normalise(xy: Tensor, canvas: int) -> Tensor:
    """Scale columns and rows to [-1, 1], ends included, like the coordinate channels.

    The authors' networks get the integers instead.

    >>> normalise(torch.tensor([[0, 63]]), 64)
    tensor([[-1.,  1.]])
    """
    return xy.float() * (2 / (canvas - 1)) - 1


def split(name: str, canvas: int = 64, square: int = 9) -> tuple[Samples, Samples]:
    """Split all positions of the square into training and test samples.

    Args:
        name: ``uniform`` (random; 2,368 training and 768 test samples by default, drawn with the
            authors' seed) or ``quadrant`` (2,407 and 729; tests on the lower right quadrant).
        canvas: Width and height of the image, in pixels.
        square: Width and height of the square, in pixels.

    Returns:
        The training samples and the test samples, sorted by column, then row.

    Raises:
        UserError: The split is unknown, the square does not fit, or one of the parts is empty.
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
            f"A square of {square} pixels on a canvas of {canvas} has too few"
            f" positions for the {name} split."
        )
    return Samples(xy[~tested], canvas, square), Samples(xy[tested], canvas, square)


def _uniform_test(xy: Tensor, canvas: int) -> Tensor:
    stream = np.random.RandomState(_UNIFORM_SEED)  # as in the authors' code
    return torch.from_numpy(stream.random_sample(len(xy)) < _UNIFORM_TEST_SHARE)


def _quadrant_test(xy: Tensor, canvas: int) -> Tensor:
    return (2 * xy > canvas).all(dim=1)


SPLITS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "uniform": _uniform_test,
    "quadrant": _quadrant_test,
}
