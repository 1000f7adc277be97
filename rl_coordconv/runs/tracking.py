"""Logging to Weights & Biases, through its synchronisation with TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rl_coordconv.runs.config import UserError

_ID = "wandb_id.txt"


@contextmanager
def finished_after() -> Iterator[None]:
    """Finish the upload to Weights & Biases when the block ends.

    Raises:
        UserError: The package ``wandb`` is not installed.
    """
    try:
        import wandb
    except ModuleNotFoundError:
        raise UserError("--track needs Weights & Biases: pip install wandb.") from None
    try:
        yield
    except BaseException:
        wandb.finish(exit_code=1)  # shown as failed
        raise
    wandb.finish()


def start(folder: Path, settings: Mapping[str, Any]) -> None:
    """Start to log everything that is written to TensorBoard.

    A resumed run continues its earlier curves. Environment variables of Weights & Biases, such as
    ``WANDB_MODE=offline`` and ``WANDB_PROJECT``, are respected.

    Args:
        folder: The run folder, which also stores the id of the run at Weights & Biases.
        settings: The run's settings.

    Raises:
        UserError: Weights & Biases cannot be reached.
    """
    import wandb

    *_, experiment, task, variant, seed = folder.resolve().parts
    file = folder / _ID
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "rl_coordconv"),
            id=file.read_text(encoding="utf-8").strip() if file.exists() else None,
            resume="allow",
            name=f"{experiment}/{task}/{variant}/{seed}",
            group=f"{experiment}/{task}/{variant}",
            config=dict(settings),
            sync_tensorboard=True,
        )
    except wandb.Error as error:
        raise UserError(
            f"Could not connect to Weights & Biases: {str(error).rstrip('.')}."
            " Log in with `wandb login`, or set WANDB_MODE=offline."
        ) from None
    file.write_text(run.id + "\n", encoding="utf-8")
