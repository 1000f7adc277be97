"""A study's runs on this machine, several at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from rl_coordconv.study.plan import Job
from rl_coordconv.study.worker import ENVIRONMENT, work

_SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork


class LocalPool:
    """Runs on this machine.

    Args:
        n_slots: Runs at once.
        n_gpus: GPUs to share out among them.
    """

    def __init__(self, n_slots: int, n_gpus: int) -> None:
        self.n_slots = n_slots
        self._n_gpus = n_gpus
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
        if self._n_gpus:
            environment["CUDA_VISIBLE_DEVICES"] = str(slot % self._n_gpus)
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)  # a new process takes what it finds
        process = _SPAWN.Process(target=_main, args=(job,), name=str(job.run.folder))
        process.start()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        self._running[process] = job, slot

    def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
        """The runs that ended, with their exit codes, as soon as there are any."""
        wait([process.sentinel for process in self._running], timeout=seconds)
        for process in [process for process in self._running if process.exitcode is not None]:
            job, slot = self._running.pop(process)
            self._free.append(slot)
            assert process.exitcode is not None
            yield job, process.exitcode

    def stop(self) -> None:
        """Ask all runs to save and end; `wait` tells when they have."""
        for process in self._running:
            process.terminate()

    def close(self) -> None:
        """Let go of the machine."""
        self.stop()


def _main(job: Job) -> None:
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C in the terminal is for the study, which tells its runs once
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.exit(work(job, job.run.folder))


def _stop_with_parent() -> None:
    """Save and stop if the study dies: its next start would find its runs in use."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
