"""Checkpoints and logger of a training that can be killed at any time.

A checkpoint is an ordinary Stable-Baselines3 ``.zip``, which ``A2C.load`` can load. An additional
file in it has the states of the random number generators and of the callbacks.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import (
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
    filter_excluded_keys,
)
from stable_baselines3.common.type_aliases import GymEnv
from torch.utils.tensorboard import SummaryWriter

from rl_coordconv.runs.checkpoint import (
    State,
    delete_old_checkpoints,
    load_newest,
    rng_state,
    set_rng_state,
)
from rl_coordconv.runs.files import ProgressLog, atomic_write, last_rows, rows_until, write_rows
from rl_coordconv.runs.folder import Run, add_settings
from rl_coordconv.runs.logging import summary_writer

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)

NUMBER = (int, float, np.number)
"""The types of values that ``progress.csv`` and a checkpoint store."""

_STATE_MEMBER = "rl_coordconv_state.pt"


def save_checkpoint(run: Run, model: BaseAlgorithm, state: State) -> Path:
    """Save a checkpoint atomically, and delete all but the newest two.

    Args:
        run: The run.
        model: The model, saved with its optimiser, schedules and counters.
        state: The states of the callbacks.

    Returns:
        The path of the checkpoint.
    """
    path = run.checkpoints / f"step-{model.num_timesteps:010d}.zip"
    with atomic_write(path) as temporary:
        model.save(temporary)
        member = io.BytesIO()
        torch.save({**state, "rng": rng_state()}, member)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_STATE_MEMBER, member.getvalue())
        add_settings(run, temporary)
    delete_old_checkpoints(run)
    return path


def load_checkpoint(
    run: Run,
    algorithm: type[Algorithm],
    env: GymEnv,
    device: str,
    custom_objects: Mapping[str, Any] | None = None,
) -> tuple[Algorithm, State] | None:
    """Load the newest undamaged checkpoint, and restore the random number generators.

    Args:
        run: The run.
        algorithm: The model's class.
        env: The training environments.
        device: A torch device.
        custom_objects: Replacements for pickled objects, as for ``algorithm.load``.

    Returns:
        The model, and the state that was saved with it; None if there is no checkpoint.
    """

    def load(path: Path) -> tuple[Algorithm, State]:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
            content = io.BytesIO(archive.read(_STATE_MEMBER))
        state: State = torch.load(content, map_location="cpu", weights_only=True)
        objects = dict(custom_objects or {})
        return algorithm.load(path, env=env, device=device, custom_objects=objects), state

    found = load_newest(run, load)
    if found:
        set_rng_state(found[1].pop("rng"))
    return found


def make_logger(run: Run, step: int, last_evaluation: int = 0) -> Logger:
    """Return a logger for TensorBoard and ``progress.csv`` that resumes after a step.

    Rows that were logged after ``step``, and evaluations after ``last_evaluation``, are dropped,
    because the resumed run repeats them.
    """
    formats = [_ResumedTensorBoard(run, step), _ResumedCsv(run.progress, step, last_evaluation)]
    return Logger(str(run.folder), formats)


def tensorboard_writer(logger: Logger) -> SummaryWriter:
    """Return the TensorBoard writer of a logger from `make_logger`, to log at any step."""
    (writer,) = [f.writer for f in logger.output_formats if isinstance(f, TensorBoardOutputFormat)]
    return writer


class _ResumedTensorBoard(TensorBoardOutputFormat):
    def __init__(self, run: Run, step: int) -> None:
        # The parent's constructor is not called, because it cannot set ``purge_step``.
        self.writer = summary_writer(run, step or -1)
        self._is_closed = False


class _ResumedCsv(KVWriter):
    """``progress.csv``: ``step``, ``seconds`` of training over all starts, then SB3's metrics.

    Only numbers are written; text and images are logged to TensorBoard only.
    """

    def __init__(self, path: Path, step: int, last_evaluation: int) -> None:
        _add_step(path)

        def is_repeated(at: float, name: str) -> bool:
            return name.startswith("eval/") and at > last_evaluation

        self._csv = ProgressLog(path, keep_until=step, drop=is_repeated)
        self._seconds_before = self._csv.seconds
        self._started = time.perf_counter()

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Write a row and flush it to disk."""
        seconds = self._seconds_before + time.perf_counter() - self._started
        metrics = filter_excluded_keys(key_values, key_excluded, "csv")
        numbers = {name: value for name, value in metrics.items() if isinstance(value, NUMBER)}
        self._csv.write({"step": step, "seconds": round(seconds, 3), **numbers})

    def close(self) -> None:
        """Do nothing; every row is already on disk."""


def _add_step(path: Path) -> None:
    """Add the column ``step`` to a log of version 0.1, so that the run can be resumed."""
    rows = last_rows(path)
    if rows and "step" not in rows[0]:
        rows = rows_until(path, "time/total_timesteps", math.inf)
        steps = [{"step": row["time/total_timesteps"], **row} for row in rows]
        write_rows(path, list(steps[0]), steps)
