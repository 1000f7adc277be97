"""Train one network on one of the CoordConv paper's toy tasks."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig, find_defaults
from rl_coordconv.experiments.not_so_clevr.sweep import run_sweep
from rl_coordconv.experiments.not_so_clevr.train import train
from rl_coordconv.runs.config import one_sentence_errors, parse_args
from rl_coordconv.runs.folder import run_experiment

CONFIGS = Path(__file__).parents[1] / "configs" / "toy"
SWITCHES = {"sweep": "do a run for every setting that the authors tried, one after the other"}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train, and return the exit code."""
    with one_sentence_errors():
        defaults = partial(find_defaults, CONFIGS)
        config, options = parse_args(ToyConfig, defaults, __doc__, argv, switches=SWITCHES)
        if options.sweep:
            file = Path(options.config or CONFIGS / f"{config.task}.yaml")
            return run_sweep(config, file, overwrite=options.overwrite)
        return run_experiment(train, config, overwrite=options.overwrite)


if __name__ == "__main__":
    sys.exit(main())
