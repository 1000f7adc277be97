"""CoordConv (Liu et al. 2018) for reinforcement learning with Stable-Baselines3."""

__version__ = "0.1.0"
