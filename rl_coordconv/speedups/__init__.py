"""Speedups for Stable-Baselines3; each can be used without the others."""
