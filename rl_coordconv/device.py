"""Where a training computes: the device, the threads, the memory."""

from __future__ import annotations

import ctypes
from typing import Annotated

import torch
from pydantic import AfterValidator

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def _usable(name: str) -> str:
    try:
        device = torch.device("cpu" if name == "auto" else name)
    except RuntimeError:
        raise ValueError(f"There is no device {name!r}; take auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"There is no {name} device on this machine; take --device cpu.")
    return name


DeviceName = Annotated[str, AfterValidator(_usable)]
"""``auto``, or a device of this machine as torch names it."""


def use_device(name: DeviceName, num_threads: int) -> torch.device:
    """Make a process ready to train, and say where.

    Args:
        name: ``auto`` takes a GPU if there is one.
        num_threads: Threads of torch on the CPU; 0 leaves them as they are.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        keep_freed_memory()
        # The gradient of a confident softmax is full of numbers too small for fast arithmetic.
        torch.set_flush_denormal(True)
    return torch.device(name)


def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next tensor instead of giving it back to the system.

    By default each large tensor gets fresh pages, and the system clears every one of them. Where
    there is no glibc, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)
