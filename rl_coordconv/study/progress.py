"""Read the progress of a study's runs, and estimate the time left."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rl_coordconv.runs.files import last_rows
from rl_coordconv.study.plan import PlannedRun

# Runs that differ only in these settings or in real numbers, such as the learning rate, have about
# the same speed.
_SAME_SPEED = {"seed", "env", "log_dir", "total_timesteps", "loss"}


@dataclass(frozen=True)
class Progress:
    """The progress of a run according to its log.

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
    """Return the step of a row of ``progress.csv``, also of a file by older versions."""
    return float(row.get("step") or row.get("time/total_timesteps") or row["epoch"])


def _seconds(row: Mapping[str, str]) -> float:
    return float(row.get("seconds") or row["time/time_elapsed"])


class Estimate:
    """An estimate of the time that runs take, from the speed of those that have started.

    Args:
        runs: The runs of a study.
    """

    def __init__(self, runs: Sequence[PlannedRun]) -> None:
        self.progress = {planned.run: read_progress(planned) for planned in runs}
        self._speeds: dict[str, list[float]] = {}
        for planned in runs:
            if speed := self.progress[planned.run].speed:
                self.add(planned, speed)

    def seconds_left(self, planned: PlannedRun) -> float | None:
        """Return the seconds of training that a run still needs.

        None if no run of the same configuration has started.
        """
        if planned.run.is_finished:
            return 0.0
        progress = self.progress[planned.run]
        speeds = [progress.speed] if progress.speed else self._speeds.get(_kind(planned), [])
        return (planned.config.length - progress.step) / fmean(speeds) if speeds else None

    def total_seconds(self, runs: Sequence[PlannedRun], at_once: int) -> float | None:
        """Return the seconds until all runs are finished, with ``at_once`` of them in parallel.

        None if the time of one of them is unknown.
        """
        ends = [0.0] * at_once
        for planned in runs:
            seconds = self.seconds_left(planned)
            if seconds is None:
                return None
            heapq.heapreplace(ends, ends[0] + seconds)
        return max(ends)

    def unknown(self, runs: Iterable[PlannedRun]) -> list[PlannedRun]:
        """Return one run of each configuration whose speed is unknown."""
        unknown = [planned for planned in runs if self.seconds_left(planned) is None]
        return list({_kind(planned): planned for planned in unknown}.values())

    def add(self, planned: PlannedRun, speed: float) -> None:
        """Add a measured speed of a run, in steps per second."""
        self._speeds.setdefault(_kind(planned), []).append(speed)


def _kind(planned: PlannedRun) -> str:
    """Return a key that runs of about the same speed share."""
    fields = planned.config.__class__.model_fields
    real = {name for name, field in fields.items() if field.annotation is float}
    return planned.config.model_dump_json(exclude=_SAME_SPEED | real)
