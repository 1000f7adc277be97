"""Reuse freed memory for the next tensor.

By default glibc returns the memory of each large tensor to the system, which then has to clear new
pages for the next tensor. Without `keep_freed_memory`, A2C on two cores is about 5% slower
and PPO 11% (``docs/performance.md``). Importing this module has no effect.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, for the whole process; do nothing without glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)
