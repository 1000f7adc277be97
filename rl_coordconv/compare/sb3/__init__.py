"""Reads the logs of plain Stable-Baselines3 and rl-zoo3; `trainings` is the main path."""
