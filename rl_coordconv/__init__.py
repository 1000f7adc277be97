"""CoordConv (Liu et al. 2018) for reinforcement learning with Stable-Baselines3."""

from rl_coordconv.coordconv import (
    CoordConv1d,
    CoordConv2d,
    CoordConv3d,
    CoordConvTranspose2d,
    add_coords,
    convert,
    coordinate_channels,
)
from rl_coordconv.extractors import (
    EXTRACTORS,
    CoordCombinedExtractor,
    CoordImpalaCNN,
    CoordNatureCNN,
    policy_kwargs,
)

__version__ = "0.1.0"

__all__ = [
    "EXTRACTORS",
    "CoordCombinedExtractor",
    "CoordConv1d",
    "CoordConv2d",
    "CoordConv3d",
    "CoordConvTranspose2d",
    "CoordImpalaCNN",
    "CoordNatureCNN",
    "add_coords",
    "convert",
    "coordinate_channels",
    "policy_kwargs",
]
