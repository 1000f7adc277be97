"""Versions of packages, to be recorded with results."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_REQUIRED = ("rl_coordconv", "torch", "stable-baselines3", "gymnasium", "ale-py", "numpy")
_OPTIONAL = ("torchvision", "timm", "ray")


def versions(
    packages: Sequence[str] = _REQUIRED, optional: Sequence[str] = _OPTIONAL
) -> dict[str, str | None]:
    """Return the versions of Python and some packages, and the git commit if known.

    Args:
        packages: Packages that are installed.
        optional: Packages to leave out if they are not installed.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {name: version(name) for name in packages}
    for name in optional:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "git_commit": _git_commit()}


def _git_commit() -> str | None:
    """Return the commit of this checkout, with ``-dirty`` if files differ; None if unknown."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
