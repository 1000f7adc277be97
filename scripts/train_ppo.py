"""Train PPO, with or without CoordConv, on an Atari game."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: its idle threads wait for the next operation of a network, some 0.1 ms,
# but do not go on to spin on the cores that emulate.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # has the last word where OpenMP is GNU's

from rl_coordconv.experiments.atari.config import PPOConfig
from rl_coordconv.experiments.atari.train import train
from rl_coordconv.runs.config import one_sentence_errors, parse_args
from rl_coordconv.runs.folder import run_experiment

CONFIG = Path(__file__).parents[1] / "configs" / "ppo.yaml"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, and return the exit code."""
    with one_sentence_errors():
        config, options = parse_args(PPOConfig, CONFIG, __doc__, argv)
        return run_experiment(train, config, overwrite=options.overwrite)


if __name__ == "__main__":
    sys.exit(main())
