"""The pace of a training: its speed, and when something is due."""

from __future__ import annotations

import time
from collections import deque

_SECONDS = 10


class Speed:
    """Steps per second over the last ten seconds.

    Args:
        step: The step at the start.
    """

    def __init__(self, step: int) -> None:
        self._marks = deque([(time.perf_counter(), step)])

    def at(self, step: int) -> float:
        """Return the speed now, at a step."""
        now = time.perf_counter()
        self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[1][0] > _SECONDS:
            self._marks.popleft()
        since, from_step = self._marks[0]
        return (step - from_step) / (now - since)


def is_due(every: int, last_step: int, step: int) -> bool:
    """Return whether a multiple of ``every`` is in (``last_step``, ``step``]; False if it is 0."""
    return every > 0 and step // every > last_step // every
