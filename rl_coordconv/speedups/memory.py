"""Keep freed memory for the next tensor.

By default glibc returns each large freed tensor to the system, which clears fresh pages for the
next one. Without this call a training of A2C on two cores runs at 0.95 of its speed, of PPO at
0.89 (``docs/performance.md``). To leave it out, do not call it.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, for the whole process; without glibc nothing happens."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2**26)
