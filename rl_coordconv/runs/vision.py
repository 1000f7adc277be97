"""The packages of the extra ``vision``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rl_coordconv.runs.config import UserError

_PACKAGES = {"mlxtend", "pycocotools", "torchmetrics", "torchvision"}


@contextmanager
def may_need_vision(command: str) -> Iterator[None]:
    """Raise a `UserError` if the block imports a package of the extra that is not installed.

    Args:
        command: The command, at the start of the sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise UserError(
            f"{command} needs {error.name}: pip install 'rl_coordconv[vision]'."
        ) from None


def check_vision(experiment: str, packages: Sequence[str]) -> None:
    """Check that packages are installed, and that torchvision works with the installed torch.

    Args:
        experiment: The experiment that needs the packages, at the start of the sentence.
        packages: Names of packages in the extra ``vision``.

    Raises:
        UserError: A package is missing, or torchvision was compiled for another torch.
    """
    if not all(find_spec(name) for name in packages):
        raise UserError(
            f"{experiment} needs {', '.join(packages)}: pip install 'rl_coordconv[vision]'."
        )
    try:
        import torchvision  # noqa: F401 - only to see whether it loads
    except (ImportError, OSError, RuntimeError):  # its operators are compiled for one torch
        import torch

        raise UserError(
            f"torchvision does not match torch {torch.__version__}; install versions that do: "
            "pip install --upgrade 'rl_coordconv[vision]'."
        ) from None
