"""Measure the speed of a study's runs by briefly training one of each configuration."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.files import last_rows
from rl_coordconv.runs.folder import Run
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import PlannedRun
from rl_coordconv.study.progress import Estimate, read_progress

_TRIAL_SECONDS = 120  # at most; most runs log a speed within ten
_POLL_SECONDS = 0.5


def measure(
    estimate: Estimate, runs: Sequence[PlannedRun], pool: LocalPool, console: Console
) -> dict[Path, str]:
    """Measure the speed of each configuration that an estimate lacks, and add it.

    A run of each trains in a temporary folder until it has logged a speed. A progress bar is shown.

    Returns:
        The last line of output of each run that failed, by the folder of the run in the study.
    """
    kinds = estimate.unknown(runs)
    if not kinds:
        return {}
    # In every batch as many at once as in the study, because they slow each other down.
    at_once = min(pool.n_slots, sum(not planned.run.is_finished for planned in runs))
    queue = itertools.cycle(kinds)
    errors = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Bar(console, len(kinds), "configurations measured") as bar,
    ):
        for done in range(0, len(kinds), at_once):
            batch = list(itertools.islice(queue, at_once))
            trials = [_copy(planned, f"{folder}/{done + i}") for i, planned in enumerate(batch)]
            codes = _train(trials, pool, bar, done, len(kinds))
            for planned, trial in zip(batch, trials, strict=True):
                if speed := read_progress(trial).speed:
                    estimate.add(planned, speed)
                elif codes.get(trial.run):
                    errors[planned.run.folder] = _last_line(trial.run.output)
    return errors


def _copy(planned: PlannedRun, log_dir: str) -> PlannedRun:
    return replace(planned, config=planned.config.model_copy(update={"log_dir": log_dir}))


def _train(
    trials: Sequence[PlannedRun], pool: LocalPool, bar: Bar, done: int, total: int
) -> dict[Run, int]:
    """Train until each run has logged a speed or has ended; return exit codes of ended runs.

    Args:
        trials: The runs.
        pool: Where to train them.
        bar: A progress bar of the measured speeds.
        done: The number of speeds measured before.
        total: The number of speeds to measure; the last batch may measure more, to fill the pool.
    """
    codes: dict[Run, int] = {}
    started, seconds, n_known = time.monotonic(), 0.0, 0
    try:
        for trial in trials:
            pool.start(trial)
        while n_known < len(trials) and seconds < _TRIAL_SECONDS:
            bar.update(min(done + n_known, total), f"{len(trials)} training for {seconds:.0f} s")
            codes.update((trial.run, code) for trial, code in pool.wait(_POLL_SECONDS))
            n_known = sum(t.run in codes or _is_known(t) for t in trials)
            seconds = time.monotonic() - started
    finally:
        pool.kill()
    return codes


def _is_known(trial: PlannedRun) -> bool:
    """Return whether the log has two rows, as the first one includes the slow start."""
    return len(last_rows(trial.run.progress)) > 1 and bool(read_progress(trial).speed)


def _last_line(output: Path) -> str:
    lines = output.read_text(errors="replace").splitlines() if output.exists() else []
    return lines[-1] if lines else "it was killed"
