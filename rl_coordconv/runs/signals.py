"""Handling of SIGINT (Ctrl-C) and SIGTERM: print a message, save, then stop."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A signal stopped the run, after a checkpoint was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def end_import() -> None:
    """Make Ctrl-C raise `KeyboardInterrupt` again; call this after a script's imports.

    During imports and at exit, Ctrl-C ends the process at once instead: an exception would print a
    traceback, or an import might catch it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


class StopSignals:
    """A context that records SIGINT and SIGTERM; a second Ctrl-C interrupts as usual.

    A second SIGTERM is ignored: when a machine shuts down, a run of a study gets the signal from
    the system and from the study.

    Args:
        answer: Message to print at the first signal; empty prints nothing.
    """

    def __init__(self, answer: str = "") -> None:
        self.received: signal.Signals | None = None
        self._answer = answer
        self._previous: dict[signal.Signals, Any] = {}
        self._at_once = False

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def stop(self) -> None:
        """Raise `Stopped` if a signal was received."""
        if self.received:
            raise Stopped(self.received)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `Stopped` as soon as a signal is received in the block; save before entering it."""
        self._at_once = True
        try:
            self.stop()
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._answer and not self.received:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            _say(f"{name} received: {'stopping.' if self._at_once else self._answer}")
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
        if self._at_once:
            self.stop()


def _say(text: str) -> None:
    """Print from a signal handler, which may have interrupted a print to the same stream.

    In a terminal, the text replaces the progress bar's line, which is then drawn again below it.
    """
    stdout = 1
    with suppress(OSError):  # it may be closed
        clear = "\r\x1b[2K" if os.isatty(stdout) else ""
        os.write(stdout, f"{clear}{text}\n".encode())
