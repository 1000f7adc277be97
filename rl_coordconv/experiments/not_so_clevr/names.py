"""Names of the models of each task, without importing torch."""

from __future__ import annotations

from rl_coordconv.runs.config import UserError, nearest

MODEL_NAMES = {
    "classification": ("deconv", "coordconv"),
    "rendering": (
        "deconv",
        "coordconv",
        "deconv-bottleneck",
        "upsample-conv",
        "upsample-coordconv",
    ),
    "regression": ("conv", "coordconv", "coordconv-relu-avg"),
}
"""The keys of `models.MODELS`, with the paper's baseline first."""


def check_model(task: str, model: str) -> None:
    """Raise a `UserError` if there is no such task, or if it has no such model."""
    if task not in MODEL_NAMES:
        raise UserError(f"There is no task {task!r}; {nearest(task, MODEL_NAMES)}")
    if model not in MODEL_NAMES[task]:
        raise UserError(f"There is no {task} model {model!r}; {nearest(model, MODEL_NAMES[task])}")
