"""Where a training computes: the device, the threads, the memory."""

from __future__ import annotations

import ctypes
import os
from typing import Annotated

import torch
from pydantic import AfterValidator

from rl_coordconv.runs.config import UserError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def _known(name: str) -> str:
    try:
        torch.device("cpu" if name == "auto" else name)
    except RuntimeError:
        raise ValueError(f"There is no device {name!r}; take auto, cpu, cuda or cuda:N.") from None
    return name


DeviceName = Annotated[str, AfterValidator(_known)]
"""``auto``, or a device as torch names it, of this machine or of the one that will train."""


def use_device(name: DeviceName, num_threads: int) -> torch.device:
    """Make a process ready to train, and say where.

    Args:
        name: ``auto`` takes a GPU if there is one.
        num_threads: Threads of torch on the CPU; 0 leaves them as they are.

    Raises:
        UserError: This machine has no such device.
    """
    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"There is no {name} device on this machine; take --device cpu.")
    if name == "cpu":
        keep_freed_memory()
        # The gradient of a confident softmax is full of numbers too small for fast arithmetic.
        torch.set_flush_denormal(True)
    return device


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return names[:count] if len(names) >= count and names[0] else [str(n) for n in range(count)]


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
