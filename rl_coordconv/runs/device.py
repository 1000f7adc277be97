"""Selection of the device and the number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rl_coordconv.runs.config import DeviceName, UserError
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.ranks import local_rank, local_world_size, world_size

if TYPE_CHECKING:
    import torch


def use_device(name: DeviceName, num_threads: int) -> torch.device:
    """Set torch's number of CPU threads, and return the device to train on.

    Args:
        name: A torch device; ``auto`` uses a GPU if there is one. Each of several processes on a
            machine uses its own GPU.
        num_threads: CPU threads of torch; 0 keeps torch's default.

    Raises:
        UserError: The device does not exist on this machine, or several processes cannot use it.
    """
    import torch

    if num_threads:
        torch.set_num_threads(num_threads)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world_size() > 1 and name != "cpu":
        name = _own_gpu(name, torch.cuda.device_count())
    device = torch.device(name)
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError):
        message = f"There is no {name} device on this machine; choose --device cpu."
        raise UserError(message) from None
    if world_size() > 1 and device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL uses the current device
    if device.type == "cpu":
        # Gradients of a confident softmax contain many denormal numbers, which slow a CPU down.
        torch.set_flush_denormal(True)
    return device


def print_slow_precision(run: Run, device: str, precision: str) -> None:
    """Print a hint if bf16 was chosen on a CPU without instructions for it.

    Args:
        run: The run.
        device: The torch device that is used.
        precision: ``float32`` or ``bf16``.
    """
    if precision == "bf16" and device == "cpu" and not cpu_computes_bf16():
        run.print("This CPU has no instructions for bf16; --precision float32 is much faster here.")


def cpu_computes_bf16() -> bool:
    """Return whether this CPU has instructions for bf16 (on x86, those of AVX-512)."""
    import torch  # as in `use_device`

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _own_gpu(name: DeviceName, n_gpus: int) -> str:
    """Return the GPU of this process, which is one of several."""
    if name != "cuda":
        raise UserError(f"Several processes cannot use --device {name}; choose cuda or cpu.")
    if 0 < n_gpus < local_world_size():
        raise UserError(
            f"There are {local_world_size()} processes for {n_gpus} GPUs on this machine; use at"
            f" most --nproc-per-node {n_gpus}, or --device cpu."
        )
    return f"cuda:{local_rank()}"


@contextmanager
def settings_untouched() -> Iterator[None]:
    """Restore the threads and the rounding that `use_device` sets after the block."""
    import torch  # as in `use_device`

    threads, flushes = torch.get_num_threads(), not torch.tensor(1e-40) * 1
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, in the format of ``CUDA_VISIBLE_DEVICES``."""
    import torch  # imported here because a study that only prints commands does not need it

    names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = torch.cuda.device_count()
    return names[:count] if len(names) >= count and names[0] else [str(n) for n in range(count)]
