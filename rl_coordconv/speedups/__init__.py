"""Speedups of Stable-Baselines3; each can be used alone."""
