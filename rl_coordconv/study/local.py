"""A study's runs on this machine, several at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from rl_coordconv.experiments import ENVIRONMENT
from rl_coordconv.study.plan import Job
from rl_coordconv.study.worker import work

_SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork


class LocalPool:
    """Runs on this machine.

    Args:
        n_slots: Runs at once.
        gpus: The GPUs to share out among them, by what CUDA calls them.
    """

    def __init__(self, n_slots: int, gpus: Sequence[str] = ()) -> None:
        self.n_slots = n_slots
        self._gpus = gpus
        self._free = list(reversed(range(n_slots)))
        self._running: dict[BaseProcess, tuple[Job, int]] = {}

    @property
    def has_room(self) -> bool:
        """Whether another run may be started."""
        return bool(self._free)

    def start(self, job: Job) -> None:
        """Start a run."""
        slot = self._free.pop()
        environment = dict(ENVIRONMENT)
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        process = _SPAWN.Process(target=_main, args=(job,), name=str(job.run.folder))
        with _inherited(environment):
            process.start()
        self._running[process] = job, slot

    def has_begun(self, job: Job) -> bool:
        """Always: nothing is queued here."""
        return True

    def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
        """The runs that ended, with their exit codes, as soon as there are any."""
        wait([process.sentinel for process in self._running], timeout=seconds)
        for process in [process for process in self._running if process.exitcode is not None]:
            job, slot = self._running.pop(process)
            self._free.append(slot)
            code = process.exitcode
            assert code is not None
            yield job, 128 - code if code < 0 else code  # a signal, as a shell counts it

    def stop(self) -> None:
        """Ask all runs to save and end; `wait` tells when they have."""
        for process in self._running:
            process.terminate()

    def close(self) -> None:
        """Ask the runs that are left to save and end, and wait until they have."""
        self.stop()
        while self._running:
            list(self.wait(seconds=1))


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """What a process that is started in the block takes from this one.

    Ctrl-C in the terminal is for the study, which tells its runs once: it waits until the block
    ends here, and until `_main` discards it there.
    """
    resource_tracker.ensure_running()  # or it starts in the block, and lets Ctrl-C through
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _main(job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.setpgrp()  # what comes from the terminal later is not for this process either
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.exit(work(job, job.run.folder))


def _stop_with_parent() -> None:
    """Save and stop if the study dies: its next start would find its runs in use."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
