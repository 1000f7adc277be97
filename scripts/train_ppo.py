"""Train PPO, with or without CoordConv, on an Atari game."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly while importing; see `end_import`

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv import experiments

CONFIGS = Path(__file__).parents[1] / "configs"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, and return the exit code."""
    return experiments.main("ppo", __doc__, CONFIGS, argv)


if __name__ == "__main__":
    sys.exit(main())
