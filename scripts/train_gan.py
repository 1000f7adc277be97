"""Train a GAN, with or without CoordConv, on two-object images."""

import sys
from collections.abc import Sequence

from rl_coordconv.commands import run


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do what it says, and return the exit code."""
    return run("train-gan", argv)


if __name__ == "__main__":
    sys.exit(main())
