"""Measure the total speed of several runs in parallel, as in a study."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rl_coordconv.bench import N_RUNS
from rl_coordconv.bench.timing import Report, interleave, make_report, ratios, spreads
from rl_coordconv.experiments import find_experiment
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import visible_gpus
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import PlannedRun
from rl_coordconv.study.progress import read_progress

_LOG_INTERVAL = {"a2c": 10, "ppo": 1}  # chosen so that runs log about once a second
_PATIENCE_SECONDS = 300  # limit for a run to start, or to log again


def run(
    repeats: int, configs: Path, algorithm: str, seconds: float, n_runs: Sequence[int] = N_RUNS
) -> Report:
    """Train on Ms. Pac-Man with several runs in parallel, which share the cores.

    Args:
        repeats: Number of rounds, at least 1.
        configs: The folder ``configs``.
        algorithm: ``a2c`` or ``ppo``.
        seconds: Length of a measurement, above 0; it starts when all runs have started.
        n_runs: Numbers of parallel runs, each at least 1; ratios are to the first.

    Raises:
        UserError: A run ended or does not log.
    """
    cores, n_gpus = os.cpu_count() or 1, len(visible_gpus())
    candidates = {
        str(n): partial(_speed, configs, algorithm, n, max(cores // n, 1), seconds) for n in n_runs
    }
    speeds = interleave(candidates, repeats, warm_up=0, description="Training")
    speed, ratio = spreads(speeds), ratios(speeds, str(n_runs[0]))
    table = [["parallel runs", "total steps/s", "vs. first row"]]
    table += [[name, f"{speed[name]:,.0f}", f"{ratio[name]:.2f}"] for name in speeds]
    note = f"""\
{algorithm}, coordconv, float32, Ms. Pac-Man, {seconds} s per measurement, {n_gpus} GPUs. Runs share
the cores. Logs lag by up to a second, so the length of a measurement is only that accurate."""
    setting = {"algorithm": algorithm, "gpus": n_gpus, "seconds": seconds}
    measured = {"steps_per_second": speed, "ratio_to_first": ratio}
    return make_report(repeats, {**setting, **measured}, [table], note)


def _speed(configs: Path, algorithm: str, n: int, n_threads: int, seconds: float) -> float:
    """Return the total steps per second of n parallel runs."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [_planned(configs, algorithm, seed, n_threads, folder) for seed in range(n)]
        pool = LocalPool(n, visible_gpus())
        try:
            for planned in runs:
                pool.start(planned)
            before = _steps_beyond([0] * n, runs, pool)
            start = time.monotonic()
            time.sleep(seconds)
            after = _steps_beyond(before, runs, pool)  # takes longer on a slow machine
            end = time.monotonic()
        finally:
            pool.kill()
    return (sum(after) - sum(before)) / (end - start)


def _steps_beyond(steps: Sequence[int], runs: Sequence[PlannedRun], pool: LocalPool) -> list[int]:
    """Wait until each run has logged more than these steps, and return its steps."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        reached = [read_progress(planned).step for planned in runs]
        if all(now > then for now, then in zip(reached, steps, strict=True)):
            return reached
        if time.monotonic() > deadline or list(pool.wait(0.1)):
            raise UserError("A run makes no progress; run its command alone to see why.")


def _planned(configs: Path, algorithm: str, seed: int, n_threads: int, folder: str) -> PlannedRun:
    chosen = {"seed": seed, "num_threads": n_threads, "log_dir": folder}
    chosen["log_interval"] = _LOG_INTERVAL[algorithm]
    config_class = find_experiment(algorithm).config_class()
    defaults = config_class.find_defaults(configs / f"{algorithm}.yaml", {})
    return PlannedRun(config_class.load(defaults, chosen), chosen)
