"""Does all runs of a study: the main path, top to bottom."""

from __future__ import annotations

import signal
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from rl_coordconv.checkpoint import StopSignals
from rl_coordconv.run import Run
from rl_coordconv.study.plan import Job
from rl_coordconv.study.table import LiveTable, State

_USER_ERROR = 2  # the exit code of a mistake, which another try would make again
_STOPPED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


class Backend(Protocol):
    """Where runs are done."""

    @property
    def has_room(self) -> bool:
        """Whether another run may be started."""

    def start(self, job: Job) -> None:
        """Start a run."""

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
    waiting = deque(job for job in jobs if not job.run.is_finished)
    running: list[Job] = []
    failures: Counter[Run] = Counter()
    reached = {job.run: _newest_checkpoint(job.run) for job in jobs}
    with StopSignals() as signals, table:
        stopping = False
        while (waiting and not stopping) or running:
            if signals.received and not stopping:
                stopping = True
                backend.stop()
            while waiting and backend.has_room and not stopping:
                job = waiting.popleft()
                backend.start(job)
                running.append(job)
                table.mark(job, State.RUNNING)
            for job, code in backend.wait(seconds=1):
                running.remove(job)
                newest = _newest_checkpoint(job.run)
                if newest != reached[job.run]:
                    reached[job.run], failures[job.run] = newest, 0
                if job.run.is_finished:
                    table.mark(job, State.FINISHED)
                elif stopping:
                    table.mark(job, State.STOPPED)
                elif code == _USER_ERROR or failures[job.run] >= retries:
                    table.mark(job, State.FAILED)
                else:
                    failures[job.run] += code not in _STOPPED
                    waiting.appendleft(job)
                    table.mark(job, State.WAITING)
            table.refresh()
    if signals.received:
        return 128 + signals.received
    return 0 if all(job.run.is_finished for job in jobs) else 1


def _newest_checkpoint(run: Run) -> str:
    return max((path.name for path in run.checkpoints.glob("step-*")), default="")
