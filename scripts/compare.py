"""Compare runs: which variant is better, by how much, and with what confidence."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly while importing; see `end_import`

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rl_coordconv.compare.results import XAxis
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import expand_path
from rl_coordconv.runs.signals import end_import


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=expand_path, help="folders of runs")
    parser.add_argument(
        "--out",
        type=expand_path,
        default=Path("report"),
        metavar="DIR",
        help="folder of the report (default: report/)",
    )
    parser.add_argument(
        "--x", choices=get_args(XAxis), default="steps", help="x-axis of curves (default: steps)"
    )
    parser.add_argument(
        "--score",
        type=float,
        help="report the steps needed to reach this score (default: lowest final mean)",
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="variant to compare the others with (default: compare every pair of up to four)",
    )
    with one_sentence_errors():
        options = parser.parse_args(argv)
        # Imported here for its one-sentence error if the extra `analysis` is missing.
        from rl_coordconv.compare.report import write_report

        end_import()
        words = ["python", "scripts/compare.py", *(sys.argv[1:] if argv is None else argv)]
        report = write_report(
            options.runs,
            options.out,
            options.x,
            options.score,
            options.against,
            command=shlex.join(words),
        )
    print(f"Done: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
