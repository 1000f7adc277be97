"""What makes Stable-Baselines3 faster; each piece can be used alone."""
