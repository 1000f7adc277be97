"""SIGINT (Ctrl-C) and SIGTERM: say so, save, then stop."""

from __future__ import annotations

import _thread
import atexit
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal asked the run to stop, and everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_import() -> None:
    """Let Ctrl-C raise `KeyboardInterrupt` again, once a script has imported everything.

    Until then, and again at exit, it ends the process: an exception might print a traceback there,
    or be ignored by an import.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


class StopSignals:
    """Notes SIGINT and SIGTERM while the block lasts; a second Ctrl-C acts as usual.

    A second SIGTERM does not: a machine that shuts down sends it to a study and to its runs, and
    the study sends it to its runs.

    Args:
        answer: What happens now, printed when the first signal comes; empty for nothing.
    """

    def __init__(self, answer: str = "") -> None:
        self.received: signal.Signals | None = None
        self._answer = answer
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
        if self._answer and not self.received:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            # In a thread: the signal may have interrupted another print. Without the locks of
            # `threading`, which it may have interrupted too.
            _thread.start_new_thread(_say, (f"{name} received: {self._answer}",))
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        if self._at_once:
            self.stop()


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        # As an argument: `print` would not keep a bar's stdout alive while the bar stops.
        print(text, file=sys.stdout, flush=True)
