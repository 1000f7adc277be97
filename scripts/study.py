"""Do all runs of a study, on this machine or on a Ray cluster; the same command goes on."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.runs.config import one_sentence_errors
from rl_coordconv.study.command import main as run_study

ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, do the study, and return the exit code."""
    with one_sentence_errors():
        return run_study(argv, __doc__, ROOT)


if __name__ == "__main__":
    sys.exit(main())
