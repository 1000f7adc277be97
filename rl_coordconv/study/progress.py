"""How far the runs of a study are, and how long they still take."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rl_coordconv.runs.files import last_rows
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import Job

_TRIAL_SECONDS = 120  # at most; most runs log a speed within ten
# What runs may differ in and be about as fast.
_SAME_SPEED = {"seed", "env", "log_dir"}


@dataclass(frozen=True)
class Progress:
    """How a run stands, by the last row of its log.

    Attributes:
        step: How far it is, in the experiment's unit.
        speed: Units a second; None if not known.
        score: None if not known.
    """

    step: int = 0
    speed: float | None = None
    score: float | None = None


def read_progress(job: Job) -> Progress:
    """How a run stands; one that has logged nothing yet stands at 0."""
    rows = last_rows(job.run.progress)
    scores = [row[job.config.score] for row in rows if row.get(job.config.score)]
    try:
        times = [(0.0, 0.0), *((float(row["seconds"]), float(row["step"])) for row in rows)]
        time, step = times[-1]
        since, before = times[1] if times[1:] and times[1][1] < step else times[0]
        speed = (step - before) / (time - since) if step else None
        return Progress(int(step), speed, float(scores[-1]) if scores else None)
    except (KeyError, ValueError, ZeroDivisionError):
        return Progress()


class Estimate:
    """How long runs take, from those that have begun.

    Args:
        jobs: The runs of a study.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.progress = {job.run: read_progress(job) for job in jobs}
        self._speeds: dict[Hashable, list[float]] = {}
        for job in jobs:
            if speed := self.progress[job.run].speed:
                self._speeds.setdefault(_kind(job), []).append(speed)

    def seconds_left(self, job: Job) -> float | None:
        """What is left of a run, if it is done by itself; None if no run of its kind has begun."""
        progress = self.progress[job.run]
        if job.run.is_finished:
            return 0.0
        speeds = [progress.speed] if progress.speed else self._speeds.get(_kind(job), [])
        return (job.length - progress.step) / fmean(speeds) if speeds else None

    def measure(self, jobs: Sequence[Job], pool: LocalPool) -> None:
        """Begin a run of each kind not known yet, several at once, in a folder that is deleted.

        Each is stopped as soon as its log has a speed.
        """
        kinds = {_kind(job): job for job in reversed(jobs) if self.seconds_left(job) is None}
        with tempfile.TemporaryDirectory() as folder:
            trials = [
                replace(job, settings={**job.settings, "log_dir": f"{folder}/{number}"})
                for number, job in enumerate(kinds.values())
            ]
            try:
                while trials:
                    batch = []
                    while trials and pool.has_room:
                        batch.append(trials.pop())
                        pool.start(batch[-1])
                    _let_run_until_logged(batch, pool)
                    for job in batch:
                        if speed := read_progress(job).speed:
                            self._speeds[_kind(job)] = [speed]
            finally:
                pool.close()


def _let_run_until_logged(jobs: Sequence[Job], pool: LocalPool) -> None:
    """Let runs go on until each has logged a speed, or has ended, and stop them."""
    running, deadline = set(map(id, jobs)), time.monotonic() + _TRIAL_SECONDS
    while running and time.monotonic() < deadline:
        for job, _ in pool.wait(seconds=1):
            running.discard(id(job))
        if all(id(job) not in running or read_progress(job).speed for job in jobs):
            break
    pool.close()


def _kind(job: Job) -> Hashable:
    """What runs of about the same speed have in common."""
    settings = {k: v for k, v in job.settings.items() if k not in _SAME_SPEED}
    return tuple(sorted(settings.items()))
