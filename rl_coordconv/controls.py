"""Controls: CoordConv layers with zeros or noise in place of the coordinates.

They separate the effect of coordinates from that of extra channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, fx

from rl_coordconv.coordconv import CoordConv2d


class ZeroChannels(CoordConv2d):
    """A `CoordConv2d` with zeros in place of the coordinates."""

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Return zeros, ``[n_coords, *size]``."""
        return torch.zeros_like(super().make_coordinates(size, device=device, dtype=dtype))


class NoiseChannels(CoordConv2d):
    """A `CoordConv2d` with fixed uniform noise, in [-1, 1), in place of the coordinates.

    Every pixel has a distinct code, but neighbouring codes are unrelated.
    """

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Return the noise, ``[n_coords, *size]``."""
        noise: Tensor = _noise(self.n_coords, size)
        return noise.to(device=device, dtype=dtype)


def _noise(n_channels: int, size: Sequence[int]) -> Tensor:
    """Return uniform noise in [-1, 1), ``[n_channels, *size]``, the same at every call.

    The values are those of a torch generator with seed 0, but drawn by NumPy: a traced network
    would draw new values from a torch generator at every call.
    """
    draw = np.random.RandomState(0).randint  # the same algorithm as torch's
    bits = draw(0, 2**32, (n_channels, *map(int, size)), np.uint32) % 2**24
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2**-23) - 1)


fx.wrap(_noise)  # a single node in a torch.fx graph, where sizes are unknown


COORD_LAYERS: dict[str | None, type[CoordConv2d]] = {
    None: CoordConv2d,
    "zeros": ZeroChannels,
    "noise": NoiseChannels,
}
"""The layer of each control; None is the layer with coordinates."""
