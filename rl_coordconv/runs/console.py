"""Terminal output: the table of settings and the progress bar."""

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
from rl_coordconv.runs.ranks import world_size


def summary(config: Config, run: Run, **more: str) -> Table:
    """Return a table of a run's settings, followed by further facts by name."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # wrap long paths instead of truncating them
    for name, value in config.model_dump().items():
        grid.add_row(name, str(value))
    for name, text in more.items():
        grid.add_row(name.replace("_", " "), text)
    grid.add_row("folder", str(run.folder))
    grid.add_row("watch", tensorboard(config))
    return grid


def lines_to_copy(texts: Mapping[str, str]) -> Text:
    """Return one line per name and text; print with ``soft_wrap=True`` to avoid line breaks."""
    width = max(map(len, texts))
    lines = [f"{name:{width}}  {text}" for name, text in texts.items()]
    return Text("\n".join(lines))


def tensorboard(config: Config) -> str:
    """Return the TensorBoard command for all runs in ``log_dir``."""
    return shlex.join(["tensorboard", "--logdir", config.log_dir])


def saving(run: Run) -> str:
    """Return the message to print when a signal stops a training."""
    text = f"finishing this update, then saving in {run.folder}."
    if world_size() > 1:  # torchrun does not forward a second Ctrl-C
        return text
    return f"{text} Ctrl-C again stops without saving."


def flush_output() -> None:
    """Flush stdout and stderr; discard output that cannot be written, such as to a full disk.

    Otherwise Python would retry at exit and change the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


class _Narrower(Group):
    """Renderables that leave four columns free for the ``^C`` that the terminal echoes.

    On a full line the echo would wrap, and the bar would be drawn twice.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrower = options.update(max_width=options.max_width - 4)
        for renderable in self.renderables:
            yield from console.render(renderable, narrower)


class _Progress(Progress):
    def get_renderables(self) -> Iterable[RenderableType]:
        yield _Narrower(*super().get_renderables())


class Bar:
    """A progress bar, or one line per minute if the output is not a terminal.

    Args:
        console: Where to show it; a quiet one shows nothing.
        total: Number of units in all.
        unit: Name of the unit in the plural, such as ``steps``.
        completed: Number of units that are already done.
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
            disable=console.quiet or not console.is_terminal,
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
        """Units per second, averaged over the recent past; None while unknown."""
        return self._bar.tasks[0].speed

    def update(self, completed: int, note: str) -> None:
        """Show the number of completed units and a short note."""
        self._completed = completed
        self._bar.update(self._task, completed=completed)
        self.note(note)

    def note(self, note: str) -> None:
        """Change the note only."""
        self._bar.update(self._task, note=note)
        prints = not (self._console.quiet or self._console.is_terminal)
        if prints and time.monotonic() - self._printed_at > 60:
            self._printed_at = time.monotonic()
            print(f"{self._completed:,} / {self._total:,} {self._unit}, {note}", flush=True)
