"""The package's own commands as a user types them in a shell."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

_SCRIPTS = Path(__file__).parents[2] / "scripts"  # in a checkout


def shell_command(name: str, *arguments: str) -> str:
    """Return a command line: ``python scripts/...`` in a checkout, else ``rl-coordconv ...``.

    Args:
        name: A name in `rl_coordconv.commands.COMMANDS`, such as ``train-a2c``.
        arguments: The command's arguments.
    """
    script = _SCRIPTS / f"{name.replace('-', '_')}.py"
    words = ["python", os.path.relpath(script)] if script.is_file() else ["rl-coordconv", name]
    return shlex.join([*words, *arguments])
