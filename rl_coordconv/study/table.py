"""Show the runs of a study as tables: state, progress, speed, score and time left."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from rl_coordconv.runs.folder import Run
from rl_coordconv.study.plan import PlannedRun
from rl_coordconv.study.progress import Estimate, read_progress

_PRINT_SECONDS = 60  # between tables without a terminal
_REFRESH_SECONDS = 1
_REST = 20  # wait this many times as long as an update took, because the runs need the cores
_OTHER_LINES = 4  # on the screen besides the table: messages and the prompt
_NARROW = 80  # columns; a smaller terminal shows no speed, to leave room for names
_N_BEST = 5


class State(str, Enum):
    """The state of a run; a small terminal shows runs in the order of these states."""

    RUNNING = "running"
    IN_USE = "in use"
    FAILED = "failed"
    STOPPED = "stopped"
    WAITING = "waiting"
    FINISHED = "finished"


class LiveTable:
    """A live table of all runs; without a terminal, a line for each change of state.

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
        self._shown_at, self._took = time.monotonic(), 0.0

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
        """Update the table if the last update is old enough."""
        every = max(_REFRESH_SECONDS, _REST * self._took) if self._live else _PRINT_SECONDS
        started = time.monotonic()
        if started - self._shown_at < every:
            return
        with suppress(OSError):
            if self._live:
                self._live.update(self._render(), refresh=True)
            else:
                self._console.print(self._render())
        self._shown_at = time.monotonic()
        self._took = self._shown_at - started

    def failed(self) -> list[PlannedRun]:
        """Return the runs that were given up."""
        return [planned for planned in self._runs if self._states[planned.run] is State.FAILED]

    def _render(self) -> Group:
        """Return a table of the runs that fit the terminal; without one, of the running ones."""
        estimate = Estimate(self._runs)
        shown = [run for state in State for run, its in self._states.items() if its is state]
        summary = self._summary(estimate)
        if not self._live:
            shown = [run for run in shown if self._states[run] is State.RUNNING]
            return Group(self._rows(estimate, shown), summary)
        room = max(self._console.height - _OTHER_LINES, 3)
        del shown[room:]
        while True:  # names may wrap, so the height is known only after rendering
            group = Group(self._rows(estimate, shown), summary)
            n_lines = len(self._console.render_lines(group))
            if n_lines <= room or len(shown) == 1:
                return group
            del shown[min(max(len(shown) * room // n_lines, 1), len(shown) - 1) :]

    def _rows(self, estimate: Estimate, shown: Sequence[Run]) -> Table:
        names = ["run", "state", "done", "speed", "score", "left"]
        if self._console.width < _NARROW:
            names.remove("speed")
        table = _table(*names)
        for planned in self._runs:
            if planned.run not in shown:
                continue
            progress = estimate.progress[planned.run]
            cells = {
                "run": self._names[planned.run],
                "state": self._states[planned.run].value,
                "done": f"{min(progress.step / planned.config.length, 1):.1%}",
                "speed": f"{_number(progress.speed)}/s" if progress.speed else "",
                "score": "" if progress.score is None else _number(progress.score),
                "left": duration(estimate.seconds_left(planned) or None),
            }
            table.add_row(*(cells[name] for name in names))
        return table

    def _summary(self, estimate: Estimate) -> str:
        count = Counter(self._states.values())
        words = [f"{count[state]} {state.value}" for state in State if count[state]]
        left = [planned for planned in self._runs if self._states[planned.run] is not State.FAILED]
        left.sort(key=lambda planned: self._states[planned.run] is not State.RUNNING)
        seconds = estimate.total_seconds(left, max(count[State.RUNNING], 1))
        if count[State.RUNNING] and seconds is not None:
            words.append(f"{duration(seconds)} left")
        return ", ".join(words)


def cost_table(runs: Sequence[PlannedRun], estimate: Estimate, at_once: int) -> Group:
    """Return a table of the runs of a study and their remaining times.

    Args:
        runs: The runs.
        estimate: Their speeds.
        at_once: The number of runs in parallel.
    """
    names = run_names(runs)
    table = _table("run", "done", "of", "time left")
    left = [estimate.seconds_left(planned) for planned in runs]
    for planned, seconds in zip(runs, left, strict=True):
        takes = "finished" if planned.run.is_finished else duration(seconds) or "unknown"
        done = f"{estimate.progress[planned.run].step:,}"
        table.add_row(names[planned.run], done, _length(planned), takes)
    words = count_runs(runs)
    total = estimate.total_seconds(runs, at_once)
    if total:
        words += f": {duration(total)} with {at_once} at once on this machine"
    return Group(table, words)


def count_runs(runs: Sequence[PlannedRun]) -> str:
    """Return the number of runs and of unfinished runs as text."""
    number = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    unfinished = sum(not planned.run.is_finished for planned in runs)
    return f"{number}, {unfinished or 'none'} unfinished"


def best_runs(runs: Sequence[PlannedRun]) -> list[str]:
    """Return lines that list the best finished runs by their last score.

    Empty if the runs differ only in the seed, or if their scores cannot be compared because they
    are from several tasks.
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
    """Return each run's path without the folder names that all runs share."""
    paths = [planned.run.folder.parts for planned in runs]
    varies = [len(set(parts)) > 1 for parts in itertools.zip_longest(*paths)]
    if not any(varies):
        return {planned.run: str(planned.run.folder) for planned in runs}
    return {
        planned.run: str(Path(*itertools.compress(parts, varies)))
        for planned, parts in zip(runs, paths, strict=True)
    }


def duration(seconds: float | None) -> str:
    """Format hours, minutes and seconds, or days and hours; empty for None.

    >>> duration(3725.4), duration(90061)
    ('1:02:05', '1 d 1 h')
    """
    if seconds is None:
        return ""
    time_left = timedelta(seconds=max(round(seconds), 0))
    return f"{time_left.days} d {time_left.seconds // 3600} h" if time_left.days else str(time_left)
