"""The device and the threads of a training."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rl_coordconv.runs.config import DeviceName, UserError

if TYPE_CHECKING:
    import torch


def use_device(name: DeviceName, num_threads: int) -> torch.device:
    """Prepare this process for training, and return its device.

    Args:
        name: ``auto`` uses a GPU if there is one.
        num_threads: Threads of torch on the CPU; 0 leaves them as they are.

    Raises:
        UserError: This machine has no such device.
    """
    import torch

    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError):
        message = f"There is no {name} device on this machine; choose --device cpu."
        raise UserError(message) from None
    if device.type == "cpu":
        # The gradient of a confident softmax is full of numbers too small for fast arithmetic.
        torch.set_flush_denormal(True)
    return device


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch  # here, because a study that only lists its runs needs none

    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return names[:count] if len(names) >= count and names[0] else [str(n) for n in range(count)]
