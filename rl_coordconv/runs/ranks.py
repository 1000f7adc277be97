"""The processes that ``torchrun`` started for one training, from its environment variables.

They are numbered by rank from 0, over all machines. A command that ``torchrun`` did not start is a
single process of rank 0. This module does not import torch; `distributed` connects the processes.
"""

from __future__ import annotations

import os
import re


def world_size() -> int:
    """Return the number of processes, on all machines."""
    return _variable("WORLD_SIZE", 1)


def rank() -> int:
    """Return the number of this process, from 0 to `world_size` - 1."""
    return _variable("RANK", 0)


def local_world_size() -> int:
    """Return the number of processes on this machine."""
    return _variable("LOCAL_WORLD_SIZE", 1)


def local_rank() -> int:
    """Return the number of this process on its machine, which is that of its GPU."""
    return _variable("LOCAL_RANK", 0)


def is_main() -> bool:
    """Return whether this process has rank 0, the only one that writes and prints."""
    return rank() == 0


def is_lost_connection(error: BaseException) -> bool:
    """Return whether torch raised an error because another process has ended."""
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    ends = "closed|reset|timed? ?out|broken pipe|aborted|remote process"
    return all(re.search(x, str(error), re.IGNORECASE) for x in ("gloo|NCCL|TCPStore", ends))


def _variable(name: str, otherwise: int) -> int:
    # Some clusters set these variables for other purposes, but not this one of torchrun.
    is_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    return int(os.environ[name]) if is_torchrun and name in os.environ else otherwise
