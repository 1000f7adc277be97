"""Supervision of failing runs, with a scripted backend."""

import os
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from study.runs import ROOT, TOY, write_study

import rl_coordconv.study.supervise as supervise_module
from rl_coordconv.study.plan import PlannedRun, read_study
from rl_coordconv.study.supervise import supervise
from rl_coordconv.study.table import LiveTable
from rl_coordconv.study.worker import IN_USE

DONE, CRASH, MISTAKE, TERMINATED = 0, 1, 2, 143


class Scripted:
    """A backend whose runs end with scripted exit codes; a run with exit code 0 is finished.

    Args:
        endings: By seed, for each attempt: an exit code, or that and the step of a new checkpoint.
    """

    has_room = True

    def __init__(self, endings: dict[int, list[int | tuple[int, int]]]) -> None:
        self.endings = {seed: deque(codes) for seed, codes in endings.items()}
        self.started: list[int] = []
        self._running: list[PlannedRun] = []

    def start(self, planned: PlannedRun) -> None:
        self.started.append(planned.config.seed)
        self._running.append(planned)

    def wait(self, seconds: float) -> Iterator[tuple[PlannedRun, int]]:
        planned = self._running.pop(0)
        ending = self.endings[planned.config.seed].popleft()
        code, step = ending if isinstance(ending, tuple) else (ending, None)
        planned.run.checkpoints.mkdir(parents=True, exist_ok=True)
        if step is not None:
            (planned.run.checkpoints / f"step-{step:010d}.pt").touch()
        if code == DONE:
            planned.run.done.touch()
        yield planned, code

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Interrupted(Scripted):
    """A backend during whose waits the study is asked to stop."""

    def wait(self, seconds: float) -> Iterator[tuple[PlannedRun, int]]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield from super().wait(seconds)


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    return read_study(write_study(tmp_path, {"seed": [0, 1]}, TOY), ROOT / "configs")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise_module, "_FAILED_SECONDS", 0.01)
    monkeypatch.setattr(supervise_module, "_POLL_SECONDS", 0.01)


def outcome(runs: list[PlannedRun], backend: Scripted, retries: int = 2) -> tuple[int, list[int]]:
    """Return the exit code, and the seeds of the runs that failed."""
    table = LiveTable(runs, Console())
    code = supervise(runs, backend, retries, table)
    return code, [planned.config.seed for planned in table.failed()]


def test_a_run_that_fails_is_retried(runs):
    backend = Scripted({0: [CRASH, CRASH, DONE], 1: [DONE]})
    assert outcome(runs, backend) == (0, [])
    assert backend.started.count(0) == 3


def test_a_run_that_keeps_failing_is_given_up_and_the_others_continue(runs):
    backend = Scripted({0: [CRASH, CRASH, CRASH], 1: [DONE]})
    assert outcome(runs, backend) == (1, [0])
    assert runs[1].run.is_finished


def test_without_retries_there_is_one_attempt(runs):
    backend = Scripted({0: [CRASH], 1: [DONE]})
    assert outcome(runs, backend, retries=0) == (1, [0])


def test_a_run_with_new_checkpoints_is_not_given_up(runs):
    backend = Scripted({0: [(CRASH, step) for step in range(9)] + [DONE], 1: [DONE]})
    assert outcome(runs, backend) == (0, [])


def test_a_users_mistake_is_not_retried(runs):
    backend = Scripted({0: [MISTAKE], 1: [DONE]})
    assert outcome(runs, backend) == (1, [0])


def test_a_run_that_was_stopped_is_resumed(runs):
    """As on a preemptible machine."""
    backend = Scripted({0: [TERMINATED] * 5 + [DONE], 1: [DONE]})
    assert outcome(runs, backend, retries=0) == (0, [])


def test_a_run_that_fails_is_retried_after_a_pause(runs, monkeypatch):
    """Others start first, and what it lacked, such as memory, may be free by then."""
    monkeypatch.setattr(supervise_module, "_FAILED_SECONDS", 1)
    backend = Scripted({0: [CRASH, DONE], 1: [DONE]})
    assert outcome(runs, backend) == (0, [])
    assert backend.started == [0, 1, 0]


@pytest.mark.parametrize(("code", "failed"), [(TERMINATED, []), (CRASH, [1]), (MISTAKE, [1])])
def test_a_run_that_fails_while_the_study_stops_is_reported(runs, code, failed):
    """A failed run has not saved."""

    backend = Interrupted({0: [TERMINATED], 1: [code]})
    assert outcome(runs, backend) == (TERMINATED, failed)
    assert backend.started == [0, 1]


def test_a_finished_run_is_not_started(runs):
    runs[0].run.folder.mkdir(parents=True)
    runs[0].run.done.touch()
    backend = Scripted({0: [], 1: [DONE]})
    assert outcome(runs, backend) == (0, [])
    assert backend.started == [1]


def test_a_run_in_use_by_another_process_is_retried_later(runs, monkeypatch):
    monkeypatch.setattr(supervise_module, "_IN_USE_SECONDS", 0.1)
    backend = Scripted({0: [IN_USE] * 5 + [DONE], 1: [DONE]})
    assert outcome(runs, backend, retries=0) == (0, [])
    assert backend.started[:3] == [0, 1, 0]


def test_nothing_is_saved_if_the_only_run_is_in_use_when_the_study_stops(runs, capsys):
    assert outcome(runs[:1], Interrupted({0: [IN_USE]})) == (TERMINATED, [])
    assert "saving" not in capsys.readouterr().out


def test_a_run_that_another_process_finished_is_not_restarted(runs, monkeypatch):
    monkeypatch.setattr(supervise_module, "_IN_USE_SECONDS", 0.1)

    class Finishing(Scripted):
        def wait(self, seconds: float) -> Iterator[tuple[PlannedRun, int]]:
            for planned, code in super().wait(seconds):
                planned.run.done.touch()  # by the other process
                yield planned, code

    backend = Finishing({0: [IN_USE], 1: [DONE]})
    assert outcome(runs, backend) == (0, [])
    assert backend.started == [0, 1]


def test_a_run_that_ends_unfinished_is_retried(runs):
    """Otherwise an unfinished run would count as a seed."""
    backend = Scripted({0: [], 1: [DONE]})
    backend.endings[0].extend([3, DONE])
    assert outcome(runs, backend) == (0, [])
