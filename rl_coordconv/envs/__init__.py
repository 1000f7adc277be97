"""Atari environments for Stable-Baselines3."""

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.vec_env import AtariVecEnv

__all__ = ["AtariVecEnv", "make_atari_env"]
