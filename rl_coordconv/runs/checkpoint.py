"""Seeds, random number generators, and checkpoints that survive a kill at any moment."""

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
"""Tensors, numbers, text, and containers of these: whatever ``torch.load`` reads safely."""

_KEPT = 2  # the newest, and one to fall back on
# The errors that reading a torn or overwritten file can raise.
_DAMAGED = (
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def environment_seed(seed: int, *stream: int) -> int:
    """Return a seed for environments, 0 to 2^31 - 1, unrelated to that of other runs and streams.

    Game i is seeded with seed + i: without this, runs with consecutive seeds would share games, and
    a resumed run would see its first games again.
    """
    return int(np.random.SeedSequence([seed, *stream]).generate_state(1)[0] >> 1)


def rng_state() -> State:
    """Return the state of Python's, NumPy's and torch's global generators."""
    # Stable-Baselines3 draws from NumPy's legacy generator.
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - see above
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: State) -> None:
    """Restore the generators to what `rng_state` returned."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    # The legacy generator again, see `rng_state`.
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002 - SB3's
    torch.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])


@contextmanager
def rng_untouched() -> Iterator[None]:
    """Restore the generators after the block, whatever it draws."""
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def save_state(run: Run, step: int, state: State) -> None:
    """Save a checkpoint of a training loop, whole or not at all, and delete the oldest ones.

    Args:
        run: The run.
        step: How far the loop is; it names the file.
        state: What the loop needs to resume.
    """
    with atomic_write(run.checkpoints / f"step-{step:010d}.pt") as temporary:
        temporary.write_bytes(_serialise(state))
        add_settings(run, temporary)
    delete_old_checkpoints(run)


def save_tensors(path: Path, content: State) -> None:
    """Save tensors by name for ``torch.load``, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(_serialise(content))


def load_tensors(path: Path) -> State:
    """Return what `save_tensors` saved, on the CPU."""
    content: State = torch.load(path, map_location="cpu", weights_only=True)
    return content


def _serialise(content: State) -> bytes:
    buffer = io.BytesIO()  # torch's own writing hides the reason when a disk is full
    torch.save(content, buffer)
    return buffer.getvalue()


def refuse_diverged(run: Run, step: str, model: nn.Module, losses: Mapping[str, float]) -> None:
    """Raise a `UserError` if a loss, a weight or a running mean is NaN or infinite.

    Args:
        run: The run.
        step: How far the training is, as ``step 1,000``.
        model: The network.
        losses: The last losses by name.
    """
    wrong = [name for name, loss in losses.items() if not math.isfinite(loss)]
    wrong = wrong or [name for name, x in model.state_dict().items() if not x.isfinite().all()]
    if wrong:
        raise diverged(run, step, wrong[0])


def diverged(run: Run, step: str, what: str) -> UserError:
    """Return the error for a training in which something is NaN or infinite."""
    return UserError(
        f"The training diverged: {what} is NaN or infinite at {step}. The last good checkpoint is"
        f" {run.saved[0] if run.saved else 'none'}; start over with a lower --learning-rate."
    )


def load_state(run: Run, device: torch.device) -> State | None:
    """Return the newest checkpoint of `save_state` that is not damaged; None if there is none."""

    def load(path: Path) -> State:
        state: State = torch.load(path, map_location=device, weights_only=True)
        return state

    return load_newest(run, load)


def load_newest(run: Run, load: Callable[[Path], T]) -> T | None:
    """Load the newest checkpoint that is not damaged, and name the damaged ones on stderr.

    The damaged ones are renamed, so that they are not tried again.

    Args:
        run: The run.
        load: Reads one file.

    Returns:
        What ``load`` returned; None if there is no checkpoint.

    Raises:
        UserError: All checkpoints are damaged.
    """
    damaged: list[Path] = []
    for path in run.saved:
        try:
            loaded = load(path)
        except _DAMAGED:
            print(f"The checkpoint {path} is damaged.", file=sys.stderr)
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
