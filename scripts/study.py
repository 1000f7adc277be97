"""Train all runs of a study, on this machine or on a Ray cluster; run it again to resume."""

import sys
from collections.abc import Sequence

from rl_coordconv.commands import run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it says, and return the exit code."""
    return run("study", argv)


if __name__ == "__main__":
    sys.exit(main())
