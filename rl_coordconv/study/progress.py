"""The progress of a study's runs, and an estimate of the time left."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rl_coordconv.runs.files import last_rows
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import PlannedRun

_TRIAL_SECONDS = 120  # at most; most runs log a speed within ten
_SAME_SPEED = {"seed", "env", "log_dir"}  # runs that differ in these only are about as fast


@dataclass(frozen=True)
class Progress:
    """The progress of a run by its log.

    Attributes:
        step: The last step logged, in the experiment's unit.
        speed: Recent steps per second; None if unknown.
        score: The last score; None if there is none.
    """

    step: int = 0
    speed: float | None = None
    score: float | None = None


def read_progress(planned: PlannedRun) -> Progress:
    """Return the progress of a run; step 0 if it has logged nothing."""
    rows = last_rows(planned.run.progress)
    column = planned.config.score
    try:
        points = [(_step(row), _seconds(row)) for row in rows]
        scores = [float(row[column]) for row in rows if row.get(column)]
    except (KeyError, ValueError):
        return Progress()
    if not points:
        return Progress()
    step, seconds = points[-1]
    before, since = points[0] if points[0][0] < step else (0.0, 0.0)
    speed = (step - before) / (seconds - since) if step and seconds > since else None
    score = scores[-1] if scores and not math.isnan(scores[-1]) else None
    return Progress(int(step), speed, score)


def _step(row: Mapping[str, str]) -> float:
    """Return the step of a row of ``progress.csv``, or of a log of the first version."""
    return float(row.get("step") or row.get("time/total_timesteps") or row["epoch"])


def _seconds(row: Mapping[str, str]) -> float:
    return float(row.get("seconds") or row["time/time_elapsed"])


class Estimate:
    """An estimate of the time that runs take, from the speed of those that have begun.

    Args:
        runs: The runs of a study.
    """

    def __init__(self, runs: Sequence[PlannedRun]) -> None:
        self.progress = {planned.run: read_progress(planned) for planned in runs}
        self._speeds: dict[str, list[float]] = {}
        for planned in runs:
            if speed := self.progress[planned.run].speed:
                self._speeds.setdefault(_kind(planned), []).append(speed)

    def seconds_left(self, planned: PlannedRun) -> float | None:
        """Return the seconds until a run is finished, without waiting for others.

        None if no run of its kind has begun.
        """
        if planned.run.is_finished:
            return 0.0
        progress = self.progress[planned.run]
        speeds = [progress.speed] if progress.speed else self._speeds.get(_kind(planned), [])
        return (planned.config.length - progress.step) / fmean(speeds) if speeds else None

    def measure(self, runs: Sequence[PlannedRun], pool: LocalPool) -> None:
        """Measure the speed of each kind of run that is unknown.

        A run of each kind trains in a temporary folder until its log has a speed.
        """
        kinds = {_kind(run): run for run in reversed(runs) if self.seconds_left(run) is None}
        with tempfile.TemporaryDirectory() as folder:
            trials = [
                replace(run, config=run.config.model_copy(update={"log_dir": f"{folder}/{number}"}))
                for number, run in enumerate(kinds.values())
            ]
            try:
                while trials:
                    batch = []
                    while trials and pool.has_room:
                        batch.append(trials.pop())
                        pool.start(batch[-1])
                    _train_until_logged(batch, pool)
                    for trial in batch:
                        if speed := read_progress(trial).speed:
                            self._speeds[_kind(trial)] = [speed]
            finally:
                pool.close()


def _train_until_logged(trials: Sequence[PlannedRun], pool: LocalPool) -> None:
    """Wait until each run has logged a speed or has ended, then stop all."""
    ended: set[int] = set()
    deadline = time.monotonic() + _TRIAL_SECONDS
    while time.monotonic() < deadline:
        if all(id(trial) in ended or read_progress(trial).speed for trial in trials):
            break
        ended.update(id(trial) for trial, _ in pool.wait(seconds=1))
    pool.close()


def _kind(planned: PlannedRun) -> str:
    """Return what runs of about the same speed have in common."""
    return planned.config.model_dump_json(exclude=_SAME_SPEED)
