"""What a study shows: a line for each run, how far it is, how good, how long it still takes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from rl_coordconv.runs.folder import Run
from rl_coordconv.study.plan import Job
from rl_coordconv.study.progress import Estimate

_PRINT_SECONDS = 60  # between reports where there is no terminal
_REFRESH_SECONDS = 1
_OTHER_LINES = 5  # of a table, beside its rows


class State(str, Enum):
    """What has become of a run, in the order in which a full screen drops them."""

    RUNNING = "running"
    IN_USE = "in use"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"
    FINISHED = "finished"


class LiveTable:
    """A table of all runs that is renewed; where there is no terminal, lines as things happen.

    Args:
        jobs: The runs.
        console: Where to show it.
    """

    def __init__(self, jobs: Sequence[Job], console: Console) -> None:
        self._jobs, self._console = jobs, console
        self._names = run_names(jobs)
        self._states = {
            job.run: State.FINISHED if job.run.is_finished else State.WAITING for job in jobs
        }
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_at = time.monotonic()

    def __enter__(self) -> LiveTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live:
            with suppress(OSError):
                self._live.update(self._render(), refresh=True)
            self._live.stop()

    def mark(self, job: Job, state: State) -> None:
        """Say what has become of a run."""
        if self._states[job.run] is not state and not self._live:
            self.say(f"{state.value:8}  {self._names[job.run]}")
        self._states[job.run] = state

    def say(self, text: str) -> None:
        """Print a line, above the table."""
        with suppress(OSError):  # a full disk, say; the runs go on
            self._console.out(text, highlight=False)

    def refresh(self) -> None:
        """Show how things stand, if it is time."""
        every = _REFRESH_SECONDS if self._live else _PRINT_SECONDS
        if time.monotonic() - self._shown_at < every:
            return
        self._shown_at = time.monotonic()
        with suppress(OSError):
            if self._live:
                self._live.update(self._render(), refresh=True)
            else:
                self._console.print(self._render({State.RUNNING}))

    def failed(self) -> list[Job]:
        """The runs that were given up."""
        return [job for job in self._jobs if self._states[job.run] is State.FAILED]

    def _render(self, states: frozenset[State] | set[State] = frozenset(State)) -> Group:
        estimate = Estimate(self._jobs)
        rows = sorted(
            (job for job in self._jobs if self._states[job.run] in states),
            key=lambda job: list(State).index(self._states[job.run]),
        )
        room = max(self._console.height - _OTHER_LINES, 3) if self._live else len(rows)
        order = {job.run: number for number, job in enumerate(self._jobs)}
        table = _table("run", "state", "done", "of", "speed", "score", "left")
        for job in sorted(rows[:room], key=lambda job: order[job.run]):
            progress = estimate.progress[job.run]
            table.add_row(
                self._names[job.run],
                self._states[job.run].value,
                f"{progress.step:,}",
                f"{job.length:,} {job.config.unit}",
                f"{progress.speed:,.4g}/s" if progress.speed else "",
                "" if progress.score is None else f"{progress.score:,.4g}",
                duration(estimate.seconds_left(job)),
            )
        return Group(table, self._summary(estimate))

    def _summary(self, estimate: Estimate) -> str:
        count = Counter(self._states.values())
        words = [f"{count[state]} {state.value}" for state in State if count[state]]
        left = [estimate.seconds_left(job) for job in self._jobs]
        known = [seconds for seconds in left if seconds is not None]
        if count[State.RUNNING] and len(known) == len(left):
            words.append(f"{duration(sum(known) / count[State.RUNNING])} left")
        return ", ".join(words)


def cost_table(jobs: Sequence[Job], estimate: Estimate, at_once: int) -> Group:
    """The runs of a study and what is left to do of each.

    Args:
        jobs: The runs.
        estimate: How fast they are.
        at_once: How many are done at the same time.
    """
    names = run_names(jobs)
    table = _table("run", "done", "of", "takes")
    for job in jobs:
        progress = estimate.progress[job.run]
        seconds = estimate.seconds_left(job)
        takes = "finished" if job.run.is_finished else duration(seconds) or "unknown"
        length = f"{job.length:,} {job.config.unit}"
        table.add_row(names[job.run], f"{progress.step:,}", length, takes)
    known = [seconds for job in jobs if (seconds := estimate.seconds_left(job)) is not None]
    unfinished = sum(not job.run.is_finished for job in jobs)
    words = f"{len(jobs)} runs, {unfinished} of them to do"
    if len(known) == len(jobs):
        total = max(sum(known) / at_once, max(known))
        words += f": {duration(total)} with {at_once} at once on this machine"
    return Group(table, words)


def _table(name: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def run_names(jobs: Sequence[Job]) -> dict[Run, str]:
    """Each run's folder, less what all have in common."""
    folders = [str(job.run.folder) for job in jobs]
    common = os.path.commonpath(folders) if len(set(folders)) > 1 else ""
    return {job.run: os.path.relpath(job.run.folder, common or ".") for job in jobs}


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds; empty if not known.

    >>> duration(3725.4)
    '1:02:05'
    """
    return "" if seconds is None else str(timedelta(seconds=max(round(seconds), 0)))
