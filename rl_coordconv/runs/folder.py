"""One run, one folder: its paths, its settings, what made it, and whether it is finished.

Training and reports share the run folder and nothing else, so this file needs no torch.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from rl_coordconv.runs.config import C, Config, UserError, read_yaml
from rl_coordconv.runs.files import atomic_write, disk_errors
from rl_coordconv.runs.signals import Stopped

_PACKAGES = ("rl_coordconv", "torch", "stable-baselines3", "gymnasium", "ale-py", "numpy")
MAY_CHANGE_ON_RESUME = frozenset({"log_dir", "device", "num_threads"})
"""Settings that may change when a run is resumed: where it is stored and what computes it."""

# Before `config.yaml` named its experiment, these settings gave it away.
_EXPERIMENT_BY_SETTING = {"clip_range": "ppo", "rms_prop_eps": "a2c", "task": "toy"}


class Run:
    """The paths in a run folder; `open_run` makes one.

    Attributes:
        folder: The folder itself.
        config: The resolved, complete settings.
        command: The command line, one line per start.
        versions: Package versions and the device, at the last start.
        output: The output of a run that a study started.
        progress: One row per logging step: ``step``, ``seconds`` of training, then metrics.
        episodes: One row per finished game.
        evaluations: One row per evaluation game.
        checkpoints: The folder of checkpoints.
        best_model: The model of the best evaluation so far.
        final_model: The model at the end.
        final_weights: The weights at the end, if it is no Stable-Baselines3 model.
        figures: The folder of figures.
        done: Exists once the run is finished.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.command = folder / "command.txt"
        self.versions = folder / "versions.json"
        self.output = folder / "output.txt"
        self.progress = folder / "progress.csv"
        self.episodes = folder / "episodes.csv"
        self.evaluations = folder / "evaluations.csv"
        self.checkpoints = folder / "checkpoints"
        self.best_model = folder / "best_model.zip"
        self.final_model = folder / "final_model.zip"
        self.final_weights = folder / "final_weights.pt"
        self.figures = folder / "figures"
        self.done = folder / "DONE"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    @property
    def is_finished(self) -> bool:
        """Whether the run is complete."""
        return self.done.exists()

    def finish(self) -> None:
        """Mark the run as complete."""
        self.done.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n"))


class InUse(UserError):
    """Another process is using the run folder."""


@contextmanager
def open_run(
    folder: Path, config: Config, *, overwrite: bool = False, patience: float = 0
) -> Iterator[Run]:
    """Create a run folder, or open the existing one if it has the same config.

    The folder is locked while the context lasts: only one process can use a run at a time.

    Args:
        folder: The run's folder; created if missing.
        config: The settings, stored in the folder or compared with those stored.
        overwrite: Delete what an earlier run left there.
        patience: Seconds to wait for another process to release the folder.

    Raises:
        UserError: The folder cannot be written, is in use, contains something else, or contains a
            run with other settings. Nothing in it was changed.
    """
    run = Run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_other_files(run)
        # Only locking is inside this block: the caller's errors are not its business.
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
    """Start or resume a run, and print where the result is.

    Args:
        train: The experiment's function.
        config: The settings, which name the folder.
        overwrite: Delete what an earlier run left there, and start over.
        folder: Another folder.
        patience: Seconds to wait for another process to release the folder.

    Returns:
        The exit code: 0, or 128 + n if signal n stopped the run.
    """
    folder = folder or config.folder
    with open_run(folder, config, overwrite=overwrite, patience=patience) as run:
        if run.is_finished:
            print(
                f"{run.folder} is already finished. Use --overwrite to delete it and train again."
            )
            return 0
        try:
            train(config, run)
        except Stopped as stop:
            print(f"Stopped and saved in {run.folder}. Run the same command again to resume.")
            return 128 + stop.number
        print(f"Done: {run.folder}")
    return 0


@contextmanager
def lock(folder: Path, patience: float = 0) -> Iterator[None]:
    """Keep other processes from writing to a run while the block lasts.

    Args:
        folder: The run's folder.
        patience: Seconds to wait for another process to release it.

    Raises:
        InUse: Another process is using it.
    """
    file_lock = FileLock(_lock_file(folder))
    try:
        file_lock.acquire(timeout=patience)
    except Timeout:
        raise InUse(f"{folder} is in use by another process.") from None
    try:
        yield
    finally:
        file_lock.release()


def _lock_file(folder: Path) -> Path:
    return folder / ".lock"


def _prepare(run: Run, config: Config, overwrite: bool) -> None:
    if overwrite:
        paths = set(run.folder.iterdir()) - {_lock_file(run.folder)}
        # The config last: until then a start after a kill sees an unfinished deletion as a run.
        for path in sorted(paths, key=lambda path: (path == run.config, path != run.done)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if run.config.exists():
        refuse_other_config(run, config)
    else:
        with atomic_write(run.config) as file:
            file.write_text(yaml.safe_dump(config.model_dump(), sort_keys=False))
    run.checkpoints.mkdir(exist_ok=True)


def refuse_other_files(run: Run) -> None:
    """Raise a `UserError` if a run's folder contains other files and no run."""
    others = set(run.folder.glob("*")) - {run.output}
    if others and not (run.config.exists() or _lock_file(run.folder).exists()):
        raise UserError(f"{run.folder} contains other files; choose another --log-dir.")


def read_settings(run: Run) -> dict[str, Any]:
    """Return the settings of a run, ``experiment`` included, as stored in ``config.yaml``.

    Raises:
        UserError: The file is missing or damaged.
    """
    settings = read_yaml(run.config)
    known = [name for key, name in _EXPERIMENT_BY_SETTING.items() if key in settings]
    return {"experiment": known[0] if known else "unknown", **settings}


def refuse_other_config(
    run: Run, config: Config, remedy: str = "start over with --overwrite"
) -> None:
    """Raise a `UserError` that names the settings if a run was made with other settings.

    Args:
        run: The run, whose folder contains a config.
        config: The settings.
        remedy: What the sentence suggests besides changing the settings back.
    """
    try:
        stored = read_settings(run)
    except UserError:
        raise UserError(f"{run.config} is damaged; {remedy}.") from None
    wanted = config.model_dump()
    keys = sorted((stored.keys() | wanted.keys()) - MAY_CHANGE_ON_RESUME)
    differing = [key for key in keys if stored.get(key) != wanted.get(key)]
    if differing:
        changes = ", ".join(f"{k} ({stored.get(k)} there, {wanted.get(k)} now)" for k in differing)
        raise UserError(
            f"{run.folder} is a run with another {changes};"
            f" change it back, choose another --log-dir, or {remedy}."
        )


def record_start(run: Run, device: str) -> None:
    """Record the command and the versions of this start."""
    with run.command.open("a") as file:
        file.write(shlex.join(sys.argv) + "\n")
    with atomic_write(run.versions) as path:
        path.write_text(json.dumps({**versions(), "device": device}, indent=2) + "\n")


def versions() -> dict[str, str | None]:
    """Return the versions of Python and the main packages, and this package's commit if known."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of this package's checkout, marked dirty if files differ from it."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
