"""The packages of the extra ``vision``."""

from __future__ import annotations

from importlib.util import find_spec

from rl_coordconv.runs.config import UserError

_PACKAGES = ("mlxtend", "pycocotools", "torchmetrics", "torchvision")


def check_vision(experiment: str) -> None:
    """Check that the extra ``vision`` is installed and that torchvision works with this torch.

    Args:
        experiment: The experiment that needs them, at the start of the sentence.

    Raises:
        UserError: It is not, or it does not.
    """
    if not all(find_spec(name) for name in _PACKAGES):
        raise UserError(
            f"{experiment} needs torchvision, torchmetrics and mlxtend: "
            "pip install 'rl_coordconv[vision]'."
        )
    try:
        import torchvision  # noqa: F401 - only to see whether it loads
    except (ImportError, OSError, RuntimeError):  # its operators are compiled for one torch
        import torch

        raise UserError(
            f"torchvision does not match torch {torch.__version__}; install versions that do: "
            "pip install --upgrade 'rl_coordconv[vision]'."
        ) from None
