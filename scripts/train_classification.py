"""Train a classifier, with or without one CoordConv layer in front."""

import sys
from collections.abc import Sequence

from rl_coordconv.commands import run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it says, and return the exit code."""
    return run("train-classification", argv)


if __name__ == "__main__":
    sys.exit(main())
