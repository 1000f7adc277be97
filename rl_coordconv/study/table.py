"""The tables of a study: its runs with state, progress, speed, score and time left."""

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
from rl_coordconv.study.plan import PlannedRun
from rl_coordconv.study.progress import Estimate, read_progress

_PRINT_SECONDS = 60  # between reports where there is no terminal
_REFRESH_SECONDS = 1
_OTHER_LINES = 5  # of a table, besides its rows
_N_BEST = 5


class State(str, Enum):
    """The state of a run; where a screen is too small, the last ones are left out."""

    RUNNING = "running"
    IN_USE = "in use"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"
    FINISHED = "finished"


class LiveTable:
    """A table of all runs that is updated; without a terminal, a line for every change.

    Args:
        runs: The runs.
        console: Where to show it.
    """

    def __init__(self, runs: Sequence[PlannedRun], console: Console) -> None:
        self._runs, self._console = runs, console
        self._names = run_names(runs)
        self._states = {
            planned.run: State.FINISHED if planned.run.is_finished else State.WAITING
            for planned in runs
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

    def mark(self, planned: PlannedRun, state: State) -> None:
        """Set the state of a run."""
        if self._states[planned.run] is not state and not self._live:
            self.say(f"{state.value:8}  {self._names[planned.run]}")
        self._states[planned.run] = state

    def say(self, text: str) -> None:
        """Print a line above the table."""
        with suppress(OSError):  # a full disk, say, which must not stop the runs
            self._console.out(text, highlight=False)

    def refresh(self) -> None:
        """Update the table if it is time."""
        every = _REFRESH_SECONDS if self._live else _PRINT_SECONDS
        if time.monotonic() - self._shown_at < every:
            return
        self._shown_at = time.monotonic()
        with suppress(OSError):
            if self._live:
                self._live.update(self._render(), refresh=True)
            else:
                self._console.print(self._render())

    def failed(self) -> list[PlannedRun]:
        """Return the runs that were given up."""
        return [planned for planned in self._runs if self._states[planned.run] is State.FAILED]

    def _render(self) -> Group:
        """Return a table of all runs that the terminal has room for; elsewhere, of running ones."""
        estimate = Estimate(self._runs)
        shown = [run for state in State for run, its in self._states.items() if its is state]
        if self._live:
            del shown[max(self._console.height - _OTHER_LINES, 3) :]
        else:
            shown = [run for run in shown if self._states[run] is State.RUNNING]
        table = _table("run", "state", "done", "of", "speed", "score", "left")
        for planned in self._runs:
            if planned.run not in shown:
                continue
            progress = estimate.progress[planned.run]
            table.add_row(
                self._names[planned.run],
                self._states[planned.run].value,
                f"{progress.step:,}",
                _length(planned),
                f"{_number(progress.speed)}/s" if progress.speed else "",
                "" if progress.score is None else _number(progress.score),
                duration(estimate.seconds_left(planned)),
            )
        return Group(table, self._summary(estimate))

    def _summary(self, estimate: Estimate) -> str:
        count = Counter(self._states.values())
        words = [f"{count[state]} {state.value}" for state in State if count[state]]
        left = [estimate.seconds_left(planned) for planned in self._runs]
        known = [seconds for seconds in left if seconds is not None]
        if count[State.RUNNING] and len(known) == len(left):
            words.append(f"{duration(sum(known) / count[State.RUNNING])} left")
        return ", ".join(words)


def cost_table(runs: Sequence[PlannedRun], estimate: Estimate, at_once: int) -> Group:
    """Return a table of the runs of a study and the time that each still takes.

    Args:
        runs: The runs.
        estimate: Their speeds.
        at_once: The number of runs side by side.
    """
    names = run_names(runs)
    table = _table("run", "done", "of", "takes")
    left = [estimate.seconds_left(planned) for planned in runs]
    for planned, seconds in zip(runs, left, strict=True):
        takes = "finished" if planned.run.is_finished else duration(seconds) or "unknown"
        done = f"{estimate.progress[planned.run].step:,}"
        table.add_row(names[planned.run], done, _length(planned), takes)
    unfinished = sum(not planned.run.is_finished for planned in runs)
    words = f"{len(runs)} runs, {unfinished} unfinished"
    known = [seconds for seconds in left if seconds is not None]
    if len(known) == len(runs):
        total = max(sum(known) / at_once, max(known))
        words += f": {duration(total)} with {at_once} at once on this machine"
    return Group(table, words)


def best_runs(runs: Sequence[PlannedRun]) -> list[str]:
    """Return lines that list the best finished runs by their last score.

    There are none if the runs differ only in the seed, or if their scores cannot be compared
    because they are of several tasks.
    """
    columns = {planned.config.score for planned in runs}
    variants = {planned.run.folder.parent for planned in runs}
    tasks = {variant.parent.name for variant in variants}
    if len(variants) == 1 or len(tasks) > 1 or len(columns) > 1:
        return []
    scores = {p.run.folder: read_progress(p).score for p in runs if p.run.is_finished}
    known = [(score, folder) for folder, score in scores.items() if score is not None]
    known.sort(key=lambda pair: pair[0], reverse=not runs[0].config.lower_is_better)
    lines = [f"{_number(score)}  {folder}" for score, folder in known[:_N_BEST]]
    return [f"Best by {columns.pop()}:", *lines] if lines else []


def _number(x: float) -> str:
    return f"{x:,.4g}" if abs(x) < 1000 else f"{x:,.0f}"


def _length(planned: PlannedRun) -> str:
    return f"{planned.config.length:,} {planned.config.unit}"


def _table(name: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def run_names(runs: Sequence[PlannedRun]) -> dict[Run, str]:
    """Return each run's folder without what all have in common."""
    folders = [str(planned.run.folder) for planned in runs]
    common = os.path.commonpath(folders) if len(set(folders)) > 1 else ""
    return {planned.run: os.path.relpath(planned.run.folder, common or ".") for planned in runs}


def duration(seconds: float | None) -> str:
    """Return hours, minutes and seconds; an empty text for None.

    >>> duration(3725.4)
    '1:02:05'
    """
    return "" if seconds is None else str(timedelta(seconds=max(round(seconds), 0)))
