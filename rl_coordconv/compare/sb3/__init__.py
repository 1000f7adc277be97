"""Read the logs of plain Stable-Baselines3 and rl-zoo3; the entry point is `trainings`."""
