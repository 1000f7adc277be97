"""A2C and PPO on Atari."""
