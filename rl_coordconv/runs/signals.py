"""SIGINT and SIGTERM: note them, save, then stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal asked the run to stop, and everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopSignals:
    """Notes SIGINT and SIGTERM while the block lasts; a second Ctrl-C acts as usual.

    A second SIGTERM does not: a machine that shuts down sends it to a study and to its runs, and
    the study sends it to its runs.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._at_once = False

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only there is it allowed
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def stop(self) -> None:
        """Raise `Stopped` if a signal came."""
        if self.received:
            raise Stopped(self.received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Stopped` inside the block as soon as a signal comes; save everything before."""
        self._at_once = True
        try:
            self.stop()
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        if self._at_once:
            self.stop()
