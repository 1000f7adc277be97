"""One run, one folder: where things lie, what made it, and whether it is finished.

The run folder is all that training and analysis share, so this file needs no torch.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from rl_coordconv.runs.config import C, Config, UserError

_PACKAGES = ("rl_coordconv", "torch", "stable-baselines3", "gymnasium", "ale-py", "numpy")
CIRCUMSTANCES = frozenset({"log_dir", "device", "num_threads"})
"""Where a run lies and what computes it, not what it is: it may go on elsewhere."""

_TAIL_BYTES = 8192  # more than ten rows have


@dataclass(frozen=True)
class Run:
    """The paths in a run folder; `open_run` makes one."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved, complete settings."""
        return self.folder / "config.yaml"

    @property
    def command(self) -> Path:
        """The command line, one line for every time the run was started."""
        return self.folder / "command.txt"

    @property
    def versions(self) -> Path:
        """Versions of everything that matters, and the device, at the last start."""
        return self.folder / "versions.json"

    @property
    def output(self) -> Path:
        """What a run of a study printed, which has no terminal of its own."""
        return self.folder / "output.txt"

    @property
    def progress(self) -> Path:
        """The logger's values, one row per logging step."""
        return self.folder / "progress.csv"

    @property
    def episodes(self) -> Path:
        """One row per finished game."""
        return self.folder / "episodes.csv"

    @property
    def evaluations(self) -> Path:
        """One row per evaluation."""
        return self.folder / "evaluations.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def best_model(self) -> Path:
        """The model of the best evaluation so far."""
        return self.folder / "best_model.zip"

    @property
    def final_model(self) -> Path:
        """The model at the end."""
        return self.folder / "final_model.zip"

    @property
    def final_weights(self) -> Path:
        """The network's weights at the end, where no Stable-Baselines3 model was trained."""
        return self.folder / "final_weights.pt"

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.folder / "figures"

    @property
    def done(self) -> Path:
        """Exists once the run is finished."""
        return self.folder / "DONE"

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.done.exists()

    def finish(self) -> None:
        """Mark it as finished: there is nothing left to do."""
        self.done.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n"))


class InUse(UserError):
    """Another process is working on the run."""


class Stopped(Exception):
    """A signal asked to stop, and everything is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def open_run(
    folder: Path, config: Config, *, overwrite: bool = False, patience: float = 0
) -> Iterator[Run]:
    """Make a run folder, or open the one that the same config made before.

    The folder is locked while the context lasts, so that no two processes write to one run.

    Args:
        folder: The run's own folder; made if missing.
        config: The settings, stored in it, or compared with those stored.
        overwrite: Delete what an earlier run left there.
        patience: Seconds to wait for another process to let go of the folder.

    Raises:
        UserError: The folder cannot be written, is in use, holds something else, or holds a run
            with other settings. Nothing in it was changed.
    """
    run = Run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_other_files(run)
        # The lock alone stays in this block: what the caller does with the run is not for it.
        locked = ExitStack()
        locked.enter_context(lock(folder, patience))
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror}.") from None
    with locked:
        with disk_errors(folder):
            _prepare(run, config, overwrite)
        yield run


def run_experiment(
    train: Callable[[C, Run], None],
    config: C,
    *,
    overwrite: bool = False,
    folder: Path | None = None,
    patience: float = 0,
) -> int:
    """Do a run, or what is left of it, and say where the result is.

    Args:
        train: The experiment's function.
        config: Its settings, which name the folder.
        overwrite: Delete what an earlier run left there, and start over.
        folder: Another folder.
        patience: Seconds to wait for another process to let go of the folder.

    Returns:
        The exit code: 0, or 128 + n where signal n stopped the run.
    """
    folder = folder or config.folder
    with open_run(folder, config, overwrite=overwrite, patience=patience) as run:
        if run.is_finished:
            print(f"{run.folder} is finished; --overwrite starts it over.")
            return 0
        try:
            train(config, run)
        except Stopped as stop:
            print(f"Stopped and saved; the same command goes on from here: {run.folder}")
            return 128 + stop.number
        print(f"Done: {run.folder}")
    return 0


@contextmanager
def lock(folder: Path, patience: float = 0) -> Iterator[None]:
    """Keep other processes from writing to a run while the block lasts.

    Args:
        folder: The run's own folder.
        patience: Seconds to wait for another process to let go.

    Raises:
        InUse: Another one is writing.
    """
    file_lock = FileLock(_lock_file(folder))
    try:
        file_lock.acquire(timeout=patience)
    except Timeout:
        raise InUse(f"Another process is working on {folder}.") from None
    try:
        yield
    finally:
        file_lock.release()


def _lock_file(folder: Path) -> Path:
    return folder / ".lock"


def _prepare(run: Run, config: Config, overwrite: bool) -> None:
    if overwrite:
        for path in set(run.folder.iterdir()) - {_lock_file(run.folder)}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if run.config.exists():
        refuse_other_config(run, config)
    else:
        with atomic_write(run.config) as file:
            file.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
    run.checkpoints.mkdir(exist_ok=True)


def refuse_other_files(run: Run) -> None:
    """Make sure that a run's folder, if there is one, holds a run or nothing.

    Raises:
        UserError: It holds something else.
    """
    others = set(run.folder.glob("*")) - {run.output}
    if others and not (run.config.exists() or _lock_file(run.folder).exists()):
        raise UserError(f"{run.folder} holds other files and no run; name another --log-dir.")


def refuse_other_config(
    run: Run, config: Config, remedy: str = "start over with --overwrite"
) -> None:
    """Make sure that a run's folder was made with the same settings.

    Args:
        run: The run, whose folder holds a config.
        config: The settings.
        remedy: What else may be done about it, for the sentence.

    Raises:
        UserError: It was not; the sentence names the settings.
    """
    try:
        stored = yaml.safe_load(run.config.read_text())
        assert isinstance(stored, dict)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AssertionError):
        raise UserError(f"{run.config} is damaged; {remedy}.") from None
    wanted = config.model_dump()
    keys = sorted((stored.keys() | wanted.keys()) - CIRCUMSTANCES)
    differing = [key for key in keys if stored.get(key) != wanted.get(key)]
    if differing:
        changes = ", ".join(f"{k} ({stored.get(k)} there, {wanted.get(k)} now)" for k in differing)
        raise UserError(
            f"{run.folder} holds a run with another {changes};"
            f" change it back, name another --log-dir, or {remedy}."
        )


def record_start(run: Run, device: str) -> None:
    """Write down the command and the versions of this start."""
    with run.command.open("a") as file:
        file.write(shlex.join(sys.argv) + "\n")
    with atomic_write(run.versions) as path:
        path.write_text(json.dumps({**versions(), "device": device}, indent=2) + "\n")


def versions() -> dict[str, str | None]:
    """What is installed: Python, the packages that count, and this package's commit if known."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of this package's own checkout, with a mark if files differ from it."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()


def last_values(path: Path) -> dict[str, str]:
    """Each column's last value in a CSV file that may be in the middle of being written.

    Only the end of the file is read, and rows that do not fit its head are passed over. A column
    that is empty there is left out.
    """
    try:
        with path.open("rb") as file:
            head = file.readline().decode().rstrip("\r\n").split(",")
            file.seek(max(file.tell(), path.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return {}
    values: dict[str, str] = {}
    for row in csv.reader(line for line in lines if line.endswith("\n")):
        if len(row) == len(head):
            values |= {name: value for name, value in zip(head, row, strict=True) if value}
    return values


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields:
        A temporary path beside it, which takes its place when the block ends without an error.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn a failed write (a full disk, say) into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"Could not write to {folder}: {reason}; what was saved before is unharmed."
            " Once that is mended, give the same command again."
        ) from error


class CsvLog:
    """A CSV file that grows by rows and survives a kill: each row is on disk when written."""

    def __init__(self, path: Path, columns: Sequence[str], keep_until: float) -> None:
        """Drop the rows past a step, and make the file if there is none.

        Args:
            path: The file.
            columns: Their names; the first is the step.
            keep_until: The step of the checkpoint that the run goes on from.
        """
        write_rows(path, columns, rows_until(path, columns[0], keep_until))
        self._path, self._columns = path, columns

    def write(self, *row: object) -> None:
        """Add one row, in the order of the columns."""
        assert len(row) == len(self._columns)
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow(row)


def rows_until(path: Path, column: str, last: float) -> list[dict[str, str]]:
    """The rows of a CSV file whose ``column`` is at most ``last``; a torn last row is left out."""
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(whole.splitlines())
    return [row for row in reader if row.get(column) and float(row[column]) <= last]


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file whole or not at all; columns that a row lacks stay empty."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
