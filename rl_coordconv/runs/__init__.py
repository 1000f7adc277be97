"""Settings, run folders, logs, checkpoints and the training loop shared by all experiments."""
