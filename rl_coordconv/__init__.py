"""CoordConv (Liu et al. 2018) for reinforcement learning with Stable-Baselines3."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rl_coordconv.convert import convert

if TYPE_CHECKING:
    from rl_coordconv.callbacks import CoordinateCallback
    from rl_coordconv.coordconv import (
        CoordConv1d,
        CoordConv2d,
        CoordConv3d,
        CoordConvTranspose2d,
        add_coords,
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
    "CoordinateCallback",
    "add_coords",
    "convert",
    "coordinate_channels",
    "policy_kwargs",
]

_MODULES = {
    "CoordinateCallback": "callbacks",
    "EXTRACTORS": "extractors",
    "CoordCombinedExtractor": "extractors",
    "CoordImpalaCNN": "extractors",
    "CoordNatureCNN": "extractors",
    "policy_kwargs": "extractors",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first access, so that reading run folders does not import torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'coordconv')}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
