"""Seeds, states of the random number generators, and atomic checkpoints."""

from __future__ import annotations

import io
import math
import pickle
import random
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.folder import Run, add_settings

T = TypeVar("T")
State = dict[str, Any]
"""Tensors, numbers, strings and containers of these: ``torch.load(weights_only=True)`` loads it."""

_KEPT = 2  # the newest checkpoint and a fallback
DAMAGED = (
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""Errors that loading a truncated or corrupted file can raise."""


def derived_seed(seed: int, *stream: int) -> int:
    """Return a seed from 0 to 2^31 - 1 for a part of a run, such as its environments.

    Seeds that are derived by adding would coincide: a ``VecEnv`` seeds its environment i with
    seed + i, so runs with consecutive seeds would share games, and a resumed run would repeat its
    first games. Larger seeds do not help, because torch's CPU generator uses 32 bits of them.

    Args:
        seed: The run's seed.
        stream: Numbers that select an independent seed of the run, such as the current step.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] >> 1)


def rng_state() -> State:
    """Return the states of the global random number generators of Python, NumPy and torch."""
    # Stable-Baselines3 uses NumPy's legacy generator.
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - see above
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: State) -> None:
    """Restore the states that `rng_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002 - SB3's
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


def seed_rng(seed: int) -> None:
    """Seed the global random number generators of Python, NumPy and torch.

    Args:
        seed: From 0 to 2^32 - 1.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - Stable-Baselines3 uses it
    torch.manual_seed(seed)


@contextmanager
def rng_untouched() -> Iterator[None]:
    """Restore the states of the random number generators when the block ends."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def save_state(run: Run, step: int, state: State) -> None:
    """Save a checkpoint of a training loop atomically, and delete all but the newest two.

    Args:
        run: The run.
        step: The current step, which is part of the file name.
        state: The state to resume from.
    """
    with atomic_write(run.checkpoints / f"step-{step:010d}.pt") as temporary:
        temporary.write_bytes(_serialise(state))
        add_settings(run, temporary)
    delete_old_checkpoints(run)


def save_tensors(path: Path, content: State) -> None:
    """Save named tensors atomically, in the format of ``torch.save``."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(_serialise(content))


def load_tensors(path: Path) -> State:
    """Load a file written by `save_tensors` to the CPU."""
    content: State = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _serialise(content: State) -> bytes:
    buffer = io.BytesIO()  # torch.save(content, path) hides the cause when the disk is full
    torch.save(content, buffer)
    return buffer.getvalue()


def refuse_diverged(run: Run, step: str, model: nn.Module, losses: Mapping[str, float]) -> None:
    """Raise a `UserError` if a loss, a parameter or a buffer is NaN or infinite.

    Args:
        run: The run.
        step: The current step as text, such as ``step 1,000``.
        model: The network.
        losses: The latest losses by name.
    """
    wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
    wrong = wrong or [name for name, x in model.state_dict().items() if not x.isfinite().all()]
    if wrong:
        raise diverged(run, step, wrong[0])


def diverged(run: Run, step: str, what: str) -> UserError:
    """Return the error for a training that diverged: ``what`` is NaN or infinite at ``step``."""
    return UserError(
        f"The training diverged: {what} is NaN or infinite at {step}. Last good checkpoint:"
        f" {run.saved[0] if run.saved else 'none'}. Start over with a lower --learning-rate."
    )


def load_state(run: Run, device: torch.device) -> State | None:
    """Load the newest undamaged checkpoint of `save_state`; return None if there is none."""

    def load(path: Path) -> State:
        state: State = torch.load(path, map_location=device, weights_only=True)
        return state

    return load_newest(run, load)


def load_newest(run: Run, load: Callable[[Path], T]) -> T | None:
    """Load the newest undamaged checkpoint.

    Damaged checkpoints are reported on stderr and renamed, so that they are not tried again.

    Args:
        run: The run.
        load: Loads one file.

    Returns:
        The value of ``load``; None if there is no checkpoint.

    Raises:
        UserError: All checkpoints are damaged.
    """
    damaged: list[Path] = []
    for path in run.saved:
        try:
            loaded = load(path)
        except DAMAGED:
            print(f"The checkpoint {path} is damaged and is skipped.", file=sys.stderr)
            damaged.append(path)
            continue
        for old in damaged:
            old.rename(old.with_name(f"damaged-{old.name}"))
        return loaded
    if damaged:
        raise UserError(
            f"All checkpoints in {run.checkpoints} are damaged; start over with --overwrite."
        )
    return None


def delete_old_checkpoints(run: Run) -> None:
    """Delete all but the newest two checkpoints."""
    for old in run.saved[_KEPT:]:
        old.unlink()
