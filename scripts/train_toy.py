"""Train one network on one of the CoordConv paper's toy tasks."""

import sys
from collections.abc import Sequence

from rl_coordconv.commands import run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it says, and return the exit code."""
    return run("train-toy", argv)


if __name__ == "__main__":
    sys.exit(main())
