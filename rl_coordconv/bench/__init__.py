"""Benchmarks that measure all candidates side by side in one run.

The choices and defaults of the flags are here so that parsing them does not import torch.
"""

DTYPES = ("float32", "bfloat16", "float16", "float64")
MEMORY_FORMATS = ("contiguous", "channels-last")
N_ENVS = (8, 16, 32, 64, 128, 256)
N_RUNS = (1, 2, 4)
