"""How many steps a second several trainings at once make together."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rl_coordconv.bench.timing import RATIO, SPEED, Spread, aligned, progress, ratios
from rl_coordconv.experiments import find_experiment
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import visible_gpus
from rl_coordconv.runs.folder import versions
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import Job
from rl_coordconv.study.progress import read_progress

N_RUNS = (1, 2, 4)
_LOG_INTERVAL = {"a2c": 10, "ppo": 1}  # rows of the log a second or more often
_PATIENCE_SECONDS = 300  # no run takes longer to begin, or to log again


def run(
    repeats: int, configs: Path, algorithm: str, seconds: float, n_runs: Sequence[int] = N_RUNS
) -> dict[str, Any]:
    """Train on Ms. Pac-Man as a study does, so many runs at once.

    Args:
        repeats: Rounds; in each, every number of runs has its interval.
        configs: The folder ``configs``.
        algorithm: ``a2c`` or ``ppo``.
        seconds: Of an interval, once all of its runs are under way.
        n_runs: How many at once.

    Returns:
        What was measured and on what, as JSON holds it: steps per second over all runs, and ratios
        to the first of ``n_runs`` in the same round.

    Raises:
        UserError: There is nothing to measure.
    """
    if min(repeats, *n_runs) < 1 or seconds <= 0:
        raise UserError("repeats, runs and seconds must be greater than 0.")
    cores = os.cpu_count() or 1
    order = random.Random(0)
    speeds: dict[str, list[float]] = {str(n): [] for n in n_runs}
    intervals = [n for _ in range(repeats) for n in order.sample(n_runs, len(n_runs))]
    for n in progress(intervals, "Training"):
        speeds[str(n)].append(_speed(configs, algorithm, n, max(cores // n, 1), seconds))
    return {
        **{"bench": "runs", "algorithm": algorithm, "versions": versions(), "cores": cores},
        **{"gpus": len(visible_gpus()), "repeats": repeats, "seconds": seconds},
        "steps_per_second": {name: asdict(Spread.of(values)) for name, values in speeds.items()},
        "ratio_to_first": ratios(speeds, str(n_runs[0])),
    }


def _speed(configs: Path, algorithm: str, n: int, n_threads: int, seconds: float) -> float:
    """Steps a second of so many runs together."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = [_job(configs, algorithm, seed, n_threads, folder) for seed in range(n)]
        pool = LocalPool(n, visible_gpus())
        try:
            for job in jobs:
                pool.start(job)
            before = _steps_beyond([0] * n, jobs, pool)
            start = time.monotonic()
            time.sleep(seconds)
            after = _steps_beyond(before, jobs, pool)  # on a slow machine, that takes longer
            end = time.monotonic()
        finally:
            pool.close()
    return (sum(after) - sum(before)) / (end - start)


def _steps_beyond(steps: Sequence[int], jobs: Sequence[Job], pool: LocalPool) -> list[int]:
    """How far the runs are, as soon as each has logged more than these."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        reached = [read_progress(job).step for job in jobs]
        if all(now > then for now, then in zip(reached, steps, strict=True)):
            return reached
        if time.monotonic() > deadline or list(pool.wait(0.1)):
            raise UserError("A run does not get on; does its script, by itself?")


def _job(configs: Path, algorithm: str, seed: int, n_threads: int, folder: str) -> Job:
    chosen = {
        **{"seed": seed, "num_threads": n_threads, "log_dir": folder},
        "log_interval": _LOG_INTERVAL[algorithm],
    }
    config_class = find_experiment(algorithm).config_class()
    defaults = config_class.find_defaults(configs / f"{algorithm}.yaml", {})
    return Job(config_class.load(defaults, chosen).model_dump(), chosen)


def table(report: dict[str, Any]) -> str:
    """A report in Markdown, aligned for a terminal."""
    first = next(iter(report["steps_per_second"]))
    whose = "one run's" if first == "1" else f"{first} runs'"
    lines = [["runs at once", "steps/s together", f"to {whose}"]]
    for name, speed in report["steps_per_second"].items():
        ratio = report["ratio_to_first"][name]
        lines.append([name, SPEED.format(**speed), RATIO.format(**ratio)])
    return aligned(lines) + "\n\n" + _NOTE.format(**report)


_NOTE = """\
{algorithm}, coordconv, float32, Ms. Pac-Man, cores shared out among the runs: median (quartiles) of
{repeats} rounds of {seconds} s; {cores} cores, {gpus} GPUs, torch {versions[torch]}, ale-py
{versions[ale-py]}. A log is behind by up to a second, of that much of an interval."""
