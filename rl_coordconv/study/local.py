"""Run a study on this machine: several runs at once, each in its own process."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from rl_coordconv.experiments import ENVIRONMENT, find_experiment
from rl_coordconv.study.plan import PlannedRun

_POLL_SECONDS = 0.05


class LocalPool:
    """A backend that trains runs on this machine.

    Args:
        n_slots: The number of runs at once.
        gpus: The GPUs to share among them, named as in ``CUDA_VISIBLE_DEVICES``.
    """

    def __init__(self, n_slots: int, gpus: Sequence[str] = ()) -> None:
        self.n_slots = n_slots
        self._gpus = gpus
        self._free = list(reversed(range(n_slots)))
        self._running: dict[subprocess.Popen[bytes], tuple[PlannedRun, int]] = {}

    @property
    def has_room(self) -> bool:
        """Whether another run can be started."""
        return bool(self._free)

    def start(self, planned: PlannedRun) -> None:
        """Start a run."""
        slot = self._free.pop()
        own = find_experiment(planned.config.experiment).environment
        environment = {**ENVIRONMENT, **own, **os.environ}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        process = subprocess.Popen(
            [sys.executable, "-m", "rl_coordconv.study.worker"],
            stdin=subprocess.PIPE,  # stays open: the run stops when it closes
            env=environment,
            start_new_session=True,  # Ctrl-C must reach only the study, which then stops its runs
        )
        self._running[process] = planned, slot
        assert process.stdin
        pickle.dump(planned, process.stdin)
        process.stdin.flush()

    def wait(self, seconds: float) -> Iterator[tuple[PlannedRun, int]]:
        """Wait until a run ends, and yield those that have, with their exit codes."""
        deadline = time.monotonic() + seconds
        while all(process.poll() is None for process in self._running):
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_SECONDS)
        for process in [process for process in self._running if process.returncode is not None]:
            planned, slot = self._running.pop(process)
            self._free.append(slot)
            assert process.stdin
            process.stdin.close()
            code = process.returncode
            yield planned, 128 - code if code < 0 else code  # 128 + n for signal n, as in a shell

    def stop(self) -> None:
        """Ask all runs to save and stop."""
        for process in self._running:
            process.terminate()

    def kill(self) -> None:
        """End all runs at once, without saving, and wait until they have ended."""
        for process in self._running:
            process.kill()
        while self._running:
            list(self.wait(seconds=1))

    def close(self) -> None:
        """Ask the remaining runs to save and stop, without waiting for them."""
        self.stop()
