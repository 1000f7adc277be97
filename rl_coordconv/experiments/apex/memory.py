"""The memory of the replay buffer."""

from __future__ import annotations

import os
from pathlib import Path

from rl_coordconv.experiments.apex.config import FRAME_STACK_BYTES, ApexConfig
from rl_coordconv.runs.config import UserError


def check_memory(config: ApexConfig) -> None:
    """Raise a `UserError` if the replay buffer is larger than the memory of this machine."""
    needed, available = config.replay_size * FRAME_STACK_BYTES, memory_bytes()
    if needed > available:
        raise UserError(
            f"A replay buffer of {config.replay_size:,} steps takes {needed / 2**30:.1f} GiB, but"
            f" this machine has {available / 2**30:.1f} GiB; lower --replay-size."
        )


def memory_bytes() -> int:
    """Return the memory of this machine, or of the container that this process is in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit: there is no file, or it says "max"
        return total
