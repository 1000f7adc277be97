"""Seeds, checkpoints and logs of a run that can be killed at any moment and goes on.

A checkpoint of an agent is one ordinary Stable-Baselines3 ``.zip``, which ``A2C.load`` reads too,
with one more member: the state of the random number generators and whatever the training loop wants
back. A checkpoint of anything else is that state alone.
"""

from __future__ import annotations

import io
import pickle
import random
import signal
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat
from stable_baselines3.common.type_aliases import GymEnv
from torch.utils.tensorboard import SummaryWriter

from rl_coordconv.runs.folder import Run, atomic_write, rows_until

Algorithm = TypeVar("Algorithm", bound=BaseAlgorithm)
State = dict[str, Any]

_STATE_MEMBER = "rl_coordconv_state.pt"
_KEPT = 2  # the newest, and one to fall back on


def environment_seed(seed: int, *stream: int) -> int:
    """A seed for environments, 0 to 2^31 - 1, far from that of every other run and stream.

    Consecutive run seeds would otherwise share games, since game i is seeded with seed + i, and a
    resumed run would see its first games again.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] >> 1)


def rng_state() -> State:
    """The state of Python's, NumPy's and torch's global generators."""
    # Stable-Baselines3 draws from NumPy's legacy generator.
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - see above
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: State) -> None:
    """Put the generators back to what `rng_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    # The legacy generator again, see `rng_state`.
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - SB3's
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def rng_untouched() -> Iterator[None]:
    """Let a block draw random numbers that the rest of the program never misses."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def save_checkpoint(run: Run, model: BaseAlgorithm, state: State) -> Path:
    """Save a model and a state, whole or not at all, and drop all but the newest checkpoints.

    Args:
        run: Whose checkpoint it is.
        model: Saved with its optimiser, schedules and counters.
        state: Tensors, numbers, text, and containers of these.

    Returns:
        The new checkpoint's file.
    """
    path = run.checkpoints / f"step-{model.num_timesteps:010d}.zip"
    with atomic_write(path) as temporary:
        model.save(temporary)
        member = io.BytesIO()
        torch.save({**state, "rng": rng_state()}, member)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_STATE_MEMBER, member.getvalue())
    _drop_old(run)
    return path


def load_checkpoint(
    run: Run, algorithm: type[Algorithm], env: GymEnv, device: str
) -> tuple[Algorithm, State] | None:
    """The newest checkpoint that can be read, its random state restored; None if there is none.

    A damaged one is named on stderr and passed over.
    """
    for path in _checkpoints(run):
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
                content = io.BytesIO(archive.read(_STATE_MEMBER))
            state: State = torch.load(content, map_location="cpu", weights_only=True)
            model = algorithm.load(path, env=env, device=device)
        except (OSError, EOFError, KeyError, zipfile.BadZipFile, RuntimeError, ValueError):
            _say_damaged(path)
            continue
        set_rng_state(state.pop("rng"))
        return model, state
    return None


def save_state(run: Run, step: int, state: State) -> None:
    """Save the state of a training loop, whole or not at all; drop all but the newest checkpoints.

    Args:
        run: Whose checkpoint it is.
        step: Where the loop stands.
        state: Tensors, numbers, text, and containers of these.
    """
    save_tensors(run.checkpoints / f"step-{step:010d}.pt", state)
    _drop_old(run)


def save_tensors(path: Path, content: State) -> None:
    """Save tensors by name for ``torch.load``, whole or not at all."""
    buffer = io.BytesIO()  # torch's own writing hides the reason where a disk is full
    torch.save(content, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_state(run: Run, device: torch.device) -> State | None:
    """What `save_state` saved last and can be read; None if there is nothing.

    A damaged checkpoint is named on stderr and passed over.
    """
    for path in _checkpoints(run):
        try:
            state: State = torch.load(path, map_location=device, weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
            _say_damaged(path)
            continue
        return state
    return None


def _say_damaged(path: Path) -> None:
    print(f"The checkpoint {path} is damaged; trying the one before.", file=sys.stderr)


def _drop_old(run: Run) -> None:
    for old in _checkpoints(run)[_KEPT:]:
        old.unlink()


def _checkpoints(run: Run) -> list[Path]:
    """Newest first."""
    return sorted(run.checkpoints.glob("step-*"), reverse=True)


def make_logger(run: Run, step: int) -> Logger:
    """A logger for TensorBoard and ``progress.csv`` whose curves go on from a step.

    What an earlier start logged past that step is dropped: those updates were lost with it.
    """
    formats = [_ResumedTensorBoard(run.folder, step), _ResumedCsv(run.progress, step)]
    return Logger(str(run.folder), formats)


def tensorboard_writer(logger: Logger) -> SummaryWriter:
    """The writer behind a logger of `make_logger`, for values at steps of their own."""
    (writer,) = [f.writer for f in logger.output_formats if isinstance(f, TensorBoardOutputFormat)]
    return writer


class _ResumedTensorBoard(TensorBoardOutputFormat):
    def __init__(self, folder: Path, step: int) -> None:
        # Not the parent's constructor, whose writer cannot tell TensorBoard what to forget.
        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)
        self._is_closed = False


class _ResumedCsv(CSVOutputFormat):
    def __init__(self, path: Path, step: int) -> None:
        rows = rows_until(path, "time/total_timesteps", step)
        with atomic_write(path) as temporary:
            super().__init__(str(temporary))
            for row in rows:
                values = {key: float(value) for key, value in row.items() if value}
                self.write(values, dict.fromkeys(values, ()))
        # The parent keeps the open file, which the rename does not change.


class StopSignals:
    """Notes SIGINT and SIGTERM while the block lasts; a second Ctrl-C acts as usual.

    A second SIGTERM does not: a machine that shuts down sends it to a study and to its runs, and
    the study sends it to its runs.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only there can it be done
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        signal.signal(signal.SIGINT, self._previous[signal.SIGINT])
