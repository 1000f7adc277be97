"""Atari environments for Stable-Baselines3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl_coordconv.envs.atari import make_atari_env
    from rl_coordconv.envs.vec_env import AtariVecEnv

__all__ = ["AtariVecEnv", "make_atari_env"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use, so that the names of the games load no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rl_coordconv.envs import atari

    return getattr(atari, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
