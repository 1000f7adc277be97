"""What a training shows in the terminal."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rl_coordconv.runs.config import Config
from rl_coordconv.runs.folder import Run


def summary(config: Config, run: Run, **more: str) -> Table:
    """What is about to run: the settings, and more by name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # a path is there whole, to be copied
    for name, value in {**config.model_dump(), **more}.items():
        grid.add_row(name.replace("_", " ") if name in more else name, str(value))
    grid.add_row("folder", str(run.folder))
    grid.add_row("watch", f"tensorboard --logdir {getattr(config, 'log_dir', run.folder)}")
    return grid


def flush_output() -> None:
    """Write what was printed, and drop what a full disk does not take.

    Python's own attempt at the end would change the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


class Bar:
    """A progress bar; where the output is no terminal (a log file, say), a line a minute instead.

    Args:
        console: Where to show it.
        total: Where it ends.
        unit: Of what.
    """

    def __init__(self, console: Console, total: int, unit: str) -> None:
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

    def start(self, completed: int) -> None:
        """Begin, or go on from where an earlier start came."""
        self._task = self._bar.add_task("", total=self._total, completed=completed, note="")
        self._bar.start()

    @property
    def speed(self) -> float | None:
        """Units per second, lately; None while unknown."""
        return self._bar.tasks[0].speed

    def update(self, completed: int, note: str) -> None:
        """Show how far it is, and a few words."""
        self._bar.update(self._task, completed=completed, note=note)
        if not self._console.is_terminal and time.monotonic() - self._printed_at > 60:
            self._printed_at = time.monotonic()
            print(f"{completed:,} / {self._total:,} {self._unit}, {note}", flush=True)

    def stop(self) -> None:
        """Leave the terminal in order."""
        self._bar.stop()
