"""Compare runs of this package and SB3 logs, and write a report. Does not import torch."""
