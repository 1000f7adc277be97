"""Does all runs of a study: the main path, top to bottom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.signals import StopSignals
from rl_coordconv.study.plan import Job
from rl_coordconv.study.table import LiveTable, State
from rl_coordconv.study.worker import IN_USE, INTERRUPTED, LOST, USER_ERROR

_STOPPED = {INTERRUPTED, LOST}
_IN_USE_SECONDS = 60  # until a run is tried again that another process works on
_FAILED_SECONDS = 5  # until a run is tried again that failed, perhaps for want of memory


class Backend(Protocol):
    """Where runs are done."""

    @property
    def has_room(self) -> bool:
        """Whether another run may be started."""

    def start(self, job: Job) -> None:
        """Start a run."""

    def has_begun(self, job: Job) -> bool:
        """Whether a run that was started is more than queued."""

    def wait(self, seconds: float) -> Iterable[tuple[Job, int]]:
        """The runs that ended, with their exit codes, as soon as there are any."""

    def stop(self) -> None:
        """Ask all runs to save and end; `wait` tells when they have."""

    def close(self) -> None:
        """Let go of what runs were done with."""


def supervise(jobs: Sequence[Job], backend: Backend, retries: int, table: LiveTable) -> int:
    """Do all runs, or what is left of them.

    A run that fails is tried again, from its last checkpoint; it is given up once it has failed
    ``retries`` times more without getting any further, and the others go on.

    Args:
        jobs: The runs, in their order.
        backend: Where to do them.
        retries: Tries after the first.
        table: What shows them.

    Returns:
        The exit code: 0, or 1 if a run was given up, or 128 + n where signal n stopped the study.
    """
    queue = _Queue(jobs, retries, table)
    stopping = False
    with StopSignals() as signals, table:
        while (queue.waiting and not stopping) or queue.running:
            if signals.received and not stopping:
                stopping = True
                table.say(f"Stopping: {len(queue.running)} runs save what they have.")
                backend.stop()
            while backend.has_room and not stopping and (job := queue.next_ready()):
                backend.start(job)
            for job in queue.running:
                if backend.has_begun(job):
                    table.mark(job, State.RUNNING)
            if queue.running:
                for job, code in backend.wait(seconds=1):
                    queue.ended(job, code, stopping=stopping)
            else:
                time.sleep(1)
            table.refresh()
    if signals.received:
        return 128 + signals.received
    return 0 if all(job.run.is_finished for job in jobs) else 1


class _Queue:
    """Which runs wait, which are under way, and how often each has failed.

    Args:
        jobs: The runs, in their order.
        retries: Tries after the first.
        table: What shows them.
    """

    def __init__(self, jobs: Sequence[Job], retries: int, table: LiveTable) -> None:
        self._retries, self._table = retries, table
        self.waiting = [job for job in jobs if not job.run.is_finished]
        self.running: list[Job] = []
        self._ready_at: dict[Run, float] = {}
        self._failures: Counter[Run] = Counter()
        self._reached = {job.run: _newest_checkpoint(job.run) for job in jobs}

    def next_ready(self) -> Job | None:
        """The run to start next, which then counts as running; None if there is none now."""
        for job in list(self.waiting):
            if self._ready_at.get(job.run, 0) > time.monotonic():
                continue
            self.waiting.remove(job)
            if job.run.is_finished:  # by another study that has it too
                self._table.mark(job, State.FINISHED)
                continue
            self.running.append(job)
            return job
        return None

    def ended(self, job: Job, code: int, *, stopping: bool) -> None:
        """Say what becomes of a run whose process has ended with an exit code."""
        self.running.remove(job)
        newest = _newest_checkpoint(job.run)
        if newest != self._reached[job.run]:
            self._reached[job.run], self._failures[job.run] = newest, 0
        if job.run.is_finished:
            state = State.FINISHED
        elif code == IN_USE:
            state = State.IN_USE
            self._wait(job, _IN_USE_SECONDS)
        elif code in _STOPPED:
            state = State.STOPPED if stopping else State.WAITING
            self._wait(job, 0)
        elif stopping or not self._may_try_again(job, code):
            state = State.FAILED
        else:
            state = State.WAITING
            self._wait(job, _FAILED_SECONDS)
        self._table.mark(job, state)

    def _wait(self, job: Job, seconds: float) -> None:
        """Let a run be the next one, after so many seconds."""
        self._ready_at[job.run] = time.monotonic() + seconds
        self.waiting.insert(0, job)

    def _may_try_again(self, job: Job, code: int) -> bool:
        """Whether another try may help: a mistake would be made again."""
        self._failures[job.run] += 1
        return code != USER_ERROR and self._failures[job.run] <= self._retries


def _newest_checkpoint(run: Run) -> str:
    return max((path.name for path in run.checkpoints.glob("step-*")), default="")
