"""Output in the terminal: the settings and a progress bar."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rl_coordconv.runs.config import Config
from rl_coordconv.runs.folder import Run


def summary(config: Config, run: Run, **more: str) -> Table:
    """Return a table of the settings of a run, and of more facts by name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # paths stay whole, to be copied
    for name, value in config.model_dump().items():
        grid.add_row(name, str(value))
    for name, text in more.items():
        grid.add_row(name.replace("_", " "), text)
    grid.add_row("folder", str(run.folder))
    grid.add_row("watch", f"tensorboard --logdir {config.log_dir}")
    return grid


def flush_output() -> None:
    """Flush stdout and stderr, and drop what cannot be written to a full disk.

    Otherwise Python would try again at exit, and change the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


class Bar:
    """A progress bar, or a line a minute if the output is not a terminal (a log file, say).

    Args:
        console: Where to show it.
        total: The number of units when it is full.
        unit: What is counted.
        completed: The units of earlier starts.
    """

    def __init__(self, console: Console, total: int, unit: str, completed: int = 0) -> None:
        self._console, self._total, self._unit = console, total, unit
        self._printed_at = time.monotonic()
        self._bar = Progress(
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,} / {task.total:,} " + unit),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total, completed=completed, note="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def speed(self) -> float | None:
        """Recent units per second; None while unknown."""
        return self._bar.tasks[0].speed

    def update(self, completed: int, note: str) -> None:
        """Show the progress and a short note."""
        self._bar.update(self._task, completed=completed, note=note)
        if not self._console.is_terminal and time.monotonic() - self._printed_at > 60:
            self._printed_at = time.monotonic()
            print(f"{completed:,} / {self._total:,} {self._unit}, {note}", flush=True)
