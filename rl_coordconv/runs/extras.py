"""Packages that may be missing: those of the extras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rl_coordconv.runs.config import UserError

_EXTRAS = {
    "mlxtend": "vision",
    "pycocotools": "vision",
    "ray": "rllib",
    "torchmetrics": "vision",
    "torchvision": "vision",
}


@contextmanager
def may_need_extras(command: str) -> Iterator[None]:
    """Raise a `UserError` if the block imports a package of an extra that is not installed.

    Args:
        command: The command, at the start of the sentence.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise UserError(
            f"{command} needs {package}: pip install 'rl_coordconv[{_EXTRAS[package]}]'."
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
