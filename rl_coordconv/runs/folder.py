"""The run folder: its files, lock and settings, and whether the run is finished.

Reports use this module to read runs, so it does not import torch.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from rl_coordconv.runs import tracking
from rl_coordconv.runs.config import MAY_CHANGE_ON_RESUME, C, Config, UserError, flag, read_yaml
from rl_coordconv.runs.files import atomic_write, delete_unfinished_writes, new_folder
from rl_coordconv.runs.signals import Stopped
from rl_coordconv.runs.versions import versions

# The settings' path in a checkpoint, a zip archive. torch.load expects all files in one folder.
_SETTINGS_MEMBER = "archive/rl_coordconv_settings.json"

# These settings identify the experiment of older runs, whose `config.yaml` does not name it.
_EXPERIMENT_BY_SETTING = {"clip_range": "ppo", "rms_prop_eps": "a2c", "task": "toy"}


class Run:
    """The files and settings of a run; `open_run` creates one.

    Attributes:
        folder: The run folder, which contains the following files and folders.
        config: The complete settings.
        command: The command line, one line per start.
        versions: Package versions and the device of the last start.
        output: The output of a run that a study started.
        progress: One row per logging step: ``step``, ``seconds`` of training, then metrics.
        episodes: One row per finished training game.
        evaluations: One row per evaluation game.
        checkpoints: The folder of checkpoints.
        best_model: The model with the best evaluation so far.
        final_model: The final model, in experiments with Stable-Baselines3.
        final_weights: The final weights, in other experiments.
        figures: The folder of figures.
        done: Exists once the run is finished; contains its length.
        settings: The settings that `record_start` and `add_settings` store.
        length: The step at which the run is finished; 0 if unknown.
        unit: The unit of `length`, such as ``steps``; empty if unknown.
        overwrite: Whether `record_start` deletes an earlier run.
        track: Whether `record_start` starts logging to Weights & Biases.
        verbose: Whether the training prints its settings and progress.
    """

    def __init__(
        self,
        folder: Path,
        config: Config | None = None,
        *,
        overwrite: bool = False,
        track: bool = False,
        verbose: bool = True,
    ) -> None:
        self.folder, self.overwrite, self.track, self.verbose = folder, overwrite, track, verbose
        self.settings: dict[str, Any] = config.model_dump() if config else {}
        self.length = config.length if config else 0
        self.unit = config.unit if config else ""
        self._length_setting = config.length_setting if config else ""
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

    def print(self, text: str) -> None:
        """Print a message if the run is verbose."""
        if self.verbose:
            print(text)

    @property
    def is_finished(self) -> bool:
        """Whether the run has reached its `length`."""
        try:
            return bool(json.loads(self.done.read_text(encoding="utf-8"))["length"] >= self.length)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (LookupError, TypeError, ValueError):  # version 0.1 wrote a date
            return (self.stored_length or self.length) >= self.length

    @property
    def stored_length(self) -> int | None:
        """The length in ``config.yaml``, below `length` to extend the run; None if unknown."""
        try:
            length = read_yaml(self.config).get(self._length_setting)
        except UserError:
            return None
        return length if isinstance(length, int) else None

    @property
    def saved(self) -> list[Path]:
        """The checkpoints to resume from, newest first; empty if the run is to be overwritten."""
        return [] if self.overwrite else sorted(self.checkpoints.glob("step-*"), reverse=True)

    def finish(self) -> None:
        """Mark the run as finished."""
        content = {"finished": time.strftime("%Y-%m-%d %H:%M:%S"), "length": self.length}
        with atomic_write(self.done) as path:
            path.write_text(json.dumps(content) + "\n", encoding="utf-8")


class InUse(UserError):
    """Another process is using the run folder."""


@contextmanager
def open_run(
    folder: Path,
    config: Config,
    *,
    overwrite: bool = False,
    track: bool = False,
    verbose: bool = True,
    patience: float = 0,
) -> Iterator[Run]:
    """Open a run folder: a new one, or that of a run which can be resumed with this config.

    The folder is locked until the block ends, so only one process can use a run at a time. Nothing
    is written or deleted before `record_start`, and a new folder that stays empty is removed.

    Args:
        folder: The run's folder; created if missing.
        config: The settings, compared with those stored.
        overwrite: Let `record_start` delete an earlier run.
        track: Log to Weights & Biases.
        verbose: Let the training print its settings and progress.
        patience: Seconds to wait for another process to release the folder.

    Raises:
        UserError: The folder cannot be written, is in use, contains something else, or contains a
            run that cannot be resumed with these settings. Its files are unchanged.
    """
    run = Run(folder, config, overwrite=overwrite, track=track, verbose=verbose)
    with ExitStack() as opened:
        if track:
            opened.enter_context(tracking.finished_after())
        try:
            opened.enter_context(new_folder(folder))
            _refuse_other_files(run)
            # This `try` ends before `yield`, so it does not catch the caller's errors.
            opened.enter_context(lock(folder, patience))
        except OSError as error:
            raise UserError(f"Cannot write to {folder}: {error.strerror}.") from None
        opened.callback(_forget, run)
        if not overwrite:
            refuse_other_run(run, config)
        yield run


def _forget(run: Run) -> None:
    """Delete the lock file if it is the only file, so that the empty folder can be removed."""
    if set(run.folder.iterdir()) == {_lock_file(run.folder)}:
        _lock_file(run.folder).unlink()


def run_experiment(
    train: Callable[[C, Run], None],
    config: C,
    *,
    overwrite: bool = False,
    track: bool = False,
    verbose: bool = True,
    folder: Path | None = None,
    patience: float = 0,
) -> int:
    """Start, resume or extend a run, and print its folder.

    Args:
        train: The experiment's training function.
        config: The settings.
        overwrite: Delete an earlier run and start over.
        track: Log to Weights & Biases.
        verbose: Print settings, progress and the folder.
        folder: The run folder; None uses ``config.folder``.
        patience: Seconds to wait for another process to release the folder.

    Returns:
        The exit code: 0, or 128 + n if signal n stopped the run.
    """
    folder = folder or config.folder
    with open_run(
        folder, config, overwrite=overwrite, track=track, verbose=verbose, patience=patience
    ) as run:
        if run.is_finished and not overwrite:
            run.print(
                f"{run.folder} is already finished. Use a larger {flag(config.length_setting)} to"
                " extend it, or --overwrite to delete it and train again."
            )
            return 0
        try:
            train(config, run)
        except Stopped as stop:
            run.print(f"Stopped and saved in {run.folder}. Run the same command again to resume.")
            return 128 + stop.number
        if run.is_finished:
            run.print(f"Done: {run.folder}")
        else:
            run.print(f"A callback stopped the training in {run.folder}. Run it again to resume.")
    return 0


@contextmanager
def lock(folder: Path, patience: float = 0) -> Iterator[None]:
    """Prevent other processes from writing to a run folder until the block ends.

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


def _refuse_other_files(run: Run) -> None:
    """Raise a `UserError` if a folder contains files but no run."""
    others = set(run.folder.glob("*")) - {run.output}
    if others and not (run.config.exists() or _lock_file(run.folder).exists()):
        raise UserError(f"{run.folder} contains other files; choose another --log-dir.")


def read_settings(run: Run) -> dict[str, Any]:
    """Return a run's settings from ``config.yaml``; ``experiment`` is ``unknown`` if not stored.

    Raises:
        UserError: The file is missing or damaged.
    """
    settings = read_yaml(run.config)
    known = [name for key, name in _EXPERIMENT_BY_SETTING.items() if key in settings]
    return {"experiment": known[0] if known else "unknown", **settings}


def refuse_other_run(run: Run, config: Config, remedy: str = "start over with --overwrite") -> None:
    """Raise a `UserError` if a run cannot be resumed with a config.

    Reasons are other files in its folder, other settings in ``config.yaml`` or in the newest
    checkpoint, and missing settings or checkpoints. The length may be larger than before.

    Args:
        run: The run, whose folder need not exist.
        config: The settings.
        remedy: Suggestion at the end of the message, besides restoring settings or files.
    """
    _refuse_other_files(run)
    stored = []
    if run.config.exists():
        try:
            stored.append(read_settings(run))
        except UserError:
            raise UserError(f"{run.config} is damaged; {remedy}.") from None
    if settings := _checkpoint_settings(run):
        stored.append(settings)
    logs = (run.progress, run.episodes, run.evaluations)
    models = (run.best_model, run.final_model, run.final_weights)
    has_begun = run.done.exists() or any(map(_has_rows, logs)) or any(x.exists() for x in models)
    # `record_start` creates the folder of checkpoints before it writes the command.
    has_begun = has_begun or (run.command.exists() and not run.checkpoints.exists())
    if not stored and (has_begun or run.saved):
        raise UserError(f"{run.config} is missing; restore it or {remedy}.")
    for settings in stored:
        _refuse_other_settings(run, settings, config, remedy)
    if has_begun and not (run.saved or run.is_finished):
        raise UserError(
            f"The checkpoints in {run.checkpoints} are missing, so the run cannot be resumed;"
            f" restore them or {remedy}."
        )


def _refuse_other_settings(
    run: Run, stored: Mapping[str, Any], config: Config, remedy: str
) -> None:
    wanted, may_change = config.model_dump(), MAY_CHANGE_ON_RESUME
    length = stored.get(config.length_setting)
    if isinstance(length, int) and length <= config.length:
        may_change |= {config.length_setting}
    keys = sorted((stored.keys() | wanted.keys()) - may_change)
    differing = [key for key in keys if stored.get(key) != wanted.get(key)]
    if differing:
        changes = ", ".join(f"{k} was {stored.get(k)}, now {wanted.get(k)}" for k in differing)
        if config.length_setting in differing:
            changes += "; a run can be extended, not shortened"
        raise UserError(
            f"The run in {run.folder} has other settings ({changes});"
            f" use the same settings, choose another --log-dir, or {remedy}."
        )


def add_settings(run: Run, checkpoint: Path) -> None:
    """Add the run's settings to a checkpoint file."""
    with zipfile.ZipFile(checkpoint, "a") as archive:
        archive.writestr(_SETTINGS_MEMBER, json.dumps(run.settings))


def _checkpoint_settings(run: Run) -> dict[str, Any] | None:
    """Return the settings in the newest readable checkpoint; version 0.1 stored none there."""
    for path in run.saved:
        try:
            with zipfile.ZipFile(path) as archive:
                settings: dict[str, Any] = json.loads(archive.read(_SETTINGS_MEMBER))
        except (OSError, LookupError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error):
            continue
        return settings
    return None


def _has_rows(log: Path) -> bool:
    return log.exists() and b"\n" in log.read_bytes().partition(b"\n")[2]


def record_start(run: Run, device: str) -> None:
    """Write the settings, command and versions of a run that starts, resumes or is extended.

    With ``run.overwrite``, delete the earlier run first.
    """
    if run.overwrite:
        paths = set(run.folder.iterdir()) - {_lock_file(run.folder)}
        # Delete DONE first and the config last: if killed between, it is still an unfinished run.
        for path in sorted(paths, key=lambda path: (path == run.config, path != run.done)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run.overwrite = False
    delete_unfinished_writes(run.folder)
    if (length := run.stored_length) and length < run.length:
        run.print(_extension(run, length))
    # Delete DONE first: if killed between, it is an unfinished run.
    for path in (run.done, run.final_model, run.final_weights):
        path.unlink(missing_ok=True)
    text = yaml.safe_dump(run.settings, sort_keys=False)
    if not run.config.exists() or run.config.read_text(encoding="utf-8") != text:
        with atomic_write(run.config) as file:
            file.write_text(text, encoding="utf-8")
    run.checkpoints.mkdir(exist_ok=True)
    with run.command.open("a") as file:
        file.write(shlex.join(sys.argv) + "\n")
    with atomic_write(run.versions) as path:
        path.write_text(json.dumps({**versions(), "device": device}, indent=2) + "\n")
    if run.track:
        tracking.start(run.folder, run.settings)


def _extension(run: Run, length: int) -> str:
    """Return the message about extending a run that ended at ``length``."""
    spans = {"linear": "linear", "cosine": "a cosine", "step": "in steps"}
    schedules = "".join(
        f" {name} is {spans[value]} and now spans the new length."
        for name, value in run.settings.items()
        if name.endswith("schedule") and value in spans
    )
    return f"Extending the run from {length:,} to {run.length:,} {run.unit}.{schedules}"
