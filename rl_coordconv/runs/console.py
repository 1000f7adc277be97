"""Output in the terminal: the settings and a progress bar."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

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
    grid.add_row("watch", tensorboard(config))
    return grid


def lines_to_copy(texts: Mapping[str, str]) -> Text:
    """Return a line per name and text, to be printed with ``soft_wrap=True``, which breaks none."""
    width = max(map(len, texts))
    lines = [f"{name:{width}}  {text}" for name, text in texts.items()]
    return Text("\n".join(lines))


def tensorboard(config: Config) -> str:
    """Return the command that shows all runs of a folder."""
    return shlex.join(["tensorboard", "--logdir", config.log_dir])


def saving(run: Run) -> str:
    """Return the answer to a signal that stops a training."""
    return f"finishing this update, then saving in {run.folder}. Ctrl-C again stops without saving."


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


class _Narrower(Group):
    """Leaves room for the ``^C`` that a terminal writes; on a full line it would begin another."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update(max_width=options.max_width - 4)
        for renderable in self.renderables:
            yield from console.render(renderable, narrower)


class _Progress(Progress):
    def get_renderables(self) -> Iterable[RenderableType]:
        yield _Narrower(*super().get_renderables())


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
        self._completed = completed
        self._printed_at = time.monotonic()
        self._bar = _Progress(
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
        self._completed = completed
        self._bar.update(self._task, completed=completed)
        self.note(note)

    def note(self, note: str) -> None:
        """Show a short note beside the same progress."""
        self._bar.update(self._task, note=note)
        if not self._console.is_terminal and time.monotonic() - self._printed_at > 60:
            self._printed_at = time.monotonic()
            print(f"{self._completed:,} / {self._total:,} {self._unit}, {note}", flush=True)
