"""What becomes of runs that fail, by a backend that does as it is told."""

import os
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from study.runs import ROOT, TOY, write_study

import rl_coordconv.study.supervise as supervise_module
from rl_coordconv.study.plan import Job, read_study
from rl_coordconv.study.supervise import supervise
from rl_coordconv.study.table import LiveTable
from rl_coordconv.study.worker import IN_USE

DONE, CRASH, MISTAKE, TERMINATED = 0, 1, 2, 143


class Scripted:
    """Each run ends as its script says next; a run that ends well is finished then.

    Args:
        endings: By seed, one for each start: an exit code, and with it the step of a checkpoint.
    """

    has_room = True

    def __init__(self, endings: dict[int, list[int | tuple[int, int]]]) -> None:
        self.endings = {seed: deque(codes) for seed, codes in endings.items()}
        self.started: list[int] = []
        self._running: list[Job] = []

    def start(self, job: Job) -> None:
        self.started.append(job.settings["seed"])
        self._running.append(job)

    def has_begun(self, job: Job) -> bool:
        return True

    def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
        job = self._running.pop(0)
        ending = self.endings[job.settings["seed"]].popleft()
        code, step = ending if isinstance(ending, tuple) else (ending, None)
        job.run.checkpoints.mkdir(parents=True, exist_ok=True)
        if step is not None:
            (job.run.checkpoints / f"step-{step:010d}.pt").touch()
        if code == DONE:
            job.run.done.touch()
        yield job, code

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return read_study(write_study(tmp_path, {"seed": [0, 1]}, TOY), ROOT / "configs")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise_module, "_FAILED_SECONDS", 0.01)


def outcome(jobs: list[Job], backend: Scripted, retries: int = 2) -> tuple[int, list[int]]:
    """The exit code, and the seeds that were given up."""
    table = LiveTable(jobs, Console())
    code = supervise(jobs, backend, retries, table)
    return code, [job.settings["seed"] for job in table.failed()]


def test_a_run_that_fails_is_tried_again(jobs):
    backend = Scripted({0: [CRASH, CRASH, DONE], 1: [DONE]})
    assert outcome(jobs, backend) == (0, [])
    assert backend.started.count(0) == 3


def test_a_run_that_keeps_failing_is_given_up_and_the_others_go_on(jobs):
    backend = Scripted({0: [CRASH, CRASH, CRASH], 1: [DONE]})
    assert outcome(jobs, backend) == (1, [0])
    assert jobs[1].run.is_finished


def test_no_retries_is_one_try(jobs):
    backend = Scripted({0: [CRASH], 1: [DONE]})
    assert outcome(jobs, backend, retries=0) == (1, [0])


def test_a_run_that_gets_further_each_time_is_not_given_up(jobs):
    backend = Scripted({0: [(CRASH, step) for step in range(9)] + [DONE], 1: [DONE]})
    assert outcome(jobs, backend) == (0, [])


def test_a_mistake_is_not_tried_again(jobs):
    backend = Scripted({0: [MISTAKE], 1: [DONE]})
    assert outcome(jobs, backend) == (1, [0])


def test_a_run_that_was_told_to_stop_goes_on(jobs):
    """As on a machine that is taken away with a warning."""
    backend = Scripted({0: [TERMINATED] * 5 + [DONE], 1: [DONE]})
    assert outcome(jobs, backend, retries=0) == (0, [])


def test_a_run_that_fails_is_not_tried_again_at_once(jobs, monkeypatch):
    """Others have their turn, and what it failed for want of may be there then."""
    monkeypatch.setattr(supervise_module, "_FAILED_SECONDS", 1)
    backend = Scripted({0: [CRASH, DONE], 1: [DONE]})
    assert outcome(jobs, backend) == (0, [])
    assert backend.started == [0, 1, 0]


@pytest.mark.parametrize(("code", "failed"), [(TERMINATED, []), (CRASH, [1]), (MISTAKE, [1])])
def test_a_run_that_fails_while_the_study_stops_is_named(jobs, code, failed):
    """It has not saved."""

    class Stopped(Scripted):
        def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
            os.kill(os.getpid(), signal.SIGTERM)
            yield from super().wait(seconds)

    backend = Stopped({0: [TERMINATED], 1: [code]})
    assert outcome(jobs, backend) == (TERMINATED, failed)
    assert backend.started == [0, 1]


def test_a_finished_run_is_not_started(jobs):
    jobs[0].run.folder.mkdir(parents=True)
    jobs[0].run.done.touch()
    backend = Scripted({0: [], 1: [DONE]})
    assert outcome(jobs, backend) == (0, [])
    assert backend.started == [1]


def test_a_run_that_another_process_works_on_is_left_alone_for_a_while(jobs, monkeypatch):
    monkeypatch.setattr(supervise_module, "_IN_USE_SECONDS", 0.1)
    backend = Scripted({0: [IN_USE] * 5 + [DONE], 1: [DONE]})
    assert outcome(jobs, backend, retries=0) == (0, [])
    assert backend.started[:3] == [0, 1, 0]


def test_a_run_that_another_process_finished_is_not_started_again(jobs, monkeypatch):
    monkeypatch.setattr(supervise_module, "_IN_USE_SECONDS", 0.1)

    class Finishing(Scripted):
        def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
            for job, code in super().wait(seconds):
                job.run.done.touch()  # by the other process
                yield job, code

    backend = Finishing({0: [IN_USE], 1: [DONE]})
    assert outcome(jobs, backend) == (0, [])
    assert backend.started == [0, 1]


def test_an_end_without_a_result_is_no_end(jobs):
    """A run that says it is done and is not would be counted as a seed."""
    backend = Scripted({0: [], 1: [DONE]})
    backend.endings[0].extend([3, DONE])
    assert outcome(jobs, backend) == (0, [])
