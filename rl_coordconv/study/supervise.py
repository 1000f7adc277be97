"""Train the runs of a study: start them, retry those that fail, and stop on a signal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.signals import StopSignals
from rl_coordconv.study.plan import PlannedRun
from rl_coordconv.study.table import LiveTable, State
from rl_coordconv.study.worker import IN_USE, INTERRUPTED, LOST, USER_ERROR

_STOPPED = {INTERRUPTED, LOST}
_POLL_SECONDS = 0.2
_IN_USE_SECONDS = 60  # before retrying a run that another process is using
_FAILED_SECONDS = 5  # before retrying a run that failed, perhaps because memory was short


class Backend(Protocol):
    """The interface of a place where runs are trained: this machine or a cluster."""

    @property
    def has_room(self) -> bool:
        """Whether another run can be started."""

    def start(self, planned: PlannedRun) -> None:
        """Start a run, or queue it."""

    def wait(self, seconds: float) -> Iterable[tuple[PlannedRun, int]]:
        """Wait until a run ends, and yield those that have, with their exit codes."""

    def stop(self) -> None:
        """Ask all runs to save and stop; `wait` yields them once they have."""

    def close(self) -> None:
        """Release the machine or the cluster."""


def supervise(runs: Sequence[PlannedRun], backend: Backend, retries: int, table: LiveTable) -> int:
    """Train all runs of a study until they are finished.

    A run that fails is retried from its last checkpoint. After ``retries`` more failures without a
    new checkpoint it is given up, and the others continue.

    Args:
        runs: The runs, in the order in which to start them.
        backend: Where to train them.
        retries: Attempts after the first.
        table: Shows their progress.

    Returns:
        The exit code: 0, or 1 if a run was given up, or 128 + n if signal n stopped the study.
    """
    queue = _Queue(runs, retries, table)
    stopping = False
    with StopSignals() as signals, table:
        while (queue.waiting and not stopping) or queue.running:
            if signals.received and not stopping:
                stopping = True
                if number := len(queue.running):
                    table.say(
                        f"Stopping: saving {number} {'run' if number == 1 else 'runs'}."
                        " Press Ctrl-C again to exit without waiting."
                    )
                backend.stop()
            while backend.has_room and not stopping and (planned := queue.next_ready()):
                backend.start(planned)
            queue.mark_begun()
            if queue.running:
                for planned, code in backend.wait(_POLL_SECONDS):
                    queue.ended(planned, code, stopping=stopping)
            else:
                time.sleep(_POLL_SECONDS)
            table.refresh()
    if signals.received:
        return 128 + signals.received
    return 0 if all(planned.run.is_finished for planned in runs) else 1


class _Queue:
    """The waiting and the running runs, and how often each has failed.

    Args:
        runs: The runs, in the order in which to start them.
        retries: Attempts after the first.
        table: Shows their state.
    """

    def __init__(self, runs: Sequence[PlannedRun], retries: int, table: LiveTable) -> None:
        self._retries, self._table = retries, table
        self.waiting = [planned for planned in runs if not planned.run.is_finished]
        self.running: list[PlannedRun] = []
        self._ready_at: dict[Run, float] = {}
        self._starts: dict[Run, int] = {}
        self._failures: Counter[Run] = Counter()
        self._reached = {planned.run: _newest_checkpoint(planned.run) for planned in runs}

    def next_ready(self) -> PlannedRun | None:
        """Return the run to start next and count it as running; None if there is none now."""
        for planned in list(self.waiting):
            if self._ready_at.get(planned.run, 0) > time.monotonic():
                continue
            self.waiting.remove(planned)
            if planned.run.is_finished:  # by another study that has the same run
                self._table.mark(planned, State.FINISHED)
                continue
            self.running.append(planned)
            self._starts[planned.run] = _starts(planned.run)
            return planned
        return None

    def mark_begun(self) -> None:
        """Mark the runs that have started to train; a cluster may queue them first."""
        for planned in self.running:
            if _starts(planned.run) != self._starts[planned.run]:
                self._table.mark(planned, State.RUNNING)

    def ended(self, planned: PlannedRun, code: int, *, stopping: bool) -> None:
        """Decide from a run's exit code whether it is finished, is retried or has failed."""
        self.running.remove(planned)
        newest = _newest_checkpoint(planned.run)
        if newest != self._reached[planned.run]:
            self._reached[planned.run], self._failures[planned.run] = newest, 0
        if planned.run.is_finished:
            state = State.FINISHED
        elif code == IN_USE:
            state = State.IN_USE
            self._wait(planned, _IN_USE_SECONDS)
        elif code in _STOPPED:
            state = State.STOPPED if stopping else State.WAITING
            self._wait(planned, 0)
        elif stopping or not self._may_retry(planned, code):
            state = State.FAILED
        else:
            state = State.WAITING
            self._wait(planned, _FAILED_SECONDS)
        self._table.mark(planned, state)

    def _wait(self, planned: PlannedRun, seconds: float) -> None:
        """Put a run first in the queue, to start after some seconds."""
        self._ready_at[planned.run] = time.monotonic() + seconds
        self.waiting.insert(0, planned)

    def _may_retry(self, planned: PlannedRun, code: int) -> bool:
        """Count a failure, and return whether to retry the run."""
        self._failures[planned.run] += 1
        return code != USER_ERROR and self._failures[planned.run] <= self._retries


def _starts(run: Run) -> int:
    """Return how often a run was started."""
    return len(run.command.read_bytes().splitlines()) if run.command.exists() else 0


def _newest_checkpoint(run: Run) -> str:
    return max((path.name for path in run.saved), default="")
