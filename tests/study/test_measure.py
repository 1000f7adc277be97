"""Measuring speeds, with a fake pool whose runs log at once."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from study.runs import ROOT, TOY, write_study

from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.measure import measure
from rl_coordconv.study.plan import PlannedRun, read_study
from rl_coordconv.study.progress import Estimate


class Pool:
    """A fake pool: a run logs one epoch in ``2 * channels`` seconds, or crashes.

    Attributes:
        at_once: The number of running runs at each kill.
    """

    def __init__(self, n_slots: int, crashes: tuple[int, ...] = ()) -> None:
        self.n_slots, self._crashes = n_slots, crashes
        self._running: list[PlannedRun] = []
        self.at_once: list[int] = []

    def start(self, planned: PlannedRun) -> None:
        assert not planned.run.folder.exists()
        planned.run.folder.mkdir(parents=True)
        self._running.append(planned)

    def wait(self, _seconds: float) -> Iterator[tuple[PlannedRun, int]]:
        for planned in self._running:
            channels = cast("Any", planned.config).channels
            if channels in self._crashes:
                planned.run.output.write_text("Traceback:\nMemoryError: too large\n")
                yield planned, 1
            else:
                planned.run.progress.write_text(f"step,seconds\n1,9\n2,{9 + 2 * channels}\n")

    def kill(self) -> None:
        self.at_once.append(len(self._running))
        self._running.clear()


def measured(runs: list[PlannedRun], pool: Pool) -> tuple[Estimate, dict[Path, str], str]:
    """Return the estimate, the errors, and the terminal's output."""
    estimate = Estimate(runs)
    console = Console(width=100, force_terminal=True, file=io.StringIO())
    errors = measure(estimate, runs, cast("LocalPool", pool), console)
    return estimate, errors, console.file.getvalue()


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    """Runs of three configurations, as the learning rate does not affect the speed."""
    vary = {"learning_rate": [0.1, 0.2], "channels": [1, 2, 3]}
    return read_study(write_study(tmp_path, vary, TOY), ROOT / "configs")


def test_every_batch_is_full_so_that_the_load_is_the_same(runs):
    pool = Pool(n_slots=2)
    estimate, errors, shown = measured(runs, pool)
    assert pool.at_once == [2, 2]
    assert [estimate.seconds_left(run) for run in runs] == [48, 96, 144] * 2
    assert not errors
    assert "0 / 3 configurations measured" in shown


def test_no_more_runs_are_measured_at_once_than_are_unfinished(runs):
    for run in runs[:-1]:
        run.run.folder.mkdir(parents=True)
        run.run.done.touch()
    pool = Pool(n_slots=4)
    measured(runs, pool)
    assert pool.at_once == [1]


def test_finished_runs_are_not_measured(runs):
    for run in runs:
        run.run.folder.mkdir(parents=True)
        run.run.done.touch()
    pool = Pool(n_slots=4)
    assert measured(runs, pool)[1:] == ({}, "")
    assert pool.at_once == []


def test_a_run_that_fails_is_reported_and_the_others_are_measured(runs):
    estimate, errors, _ = measured(runs, Pool(n_slots=3, crashes=(2,)))
    assert errors == {runs[4].run.folder: "MemoryError: too large"}
    assert [estimate.seconds_left(run) for run in runs] == [48, None, 144] * 2
