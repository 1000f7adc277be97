"""Compare runs: which arm is better, by how much, and how sure that is."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.runs.config import Parser, one_sentence_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="folders with runs in or below them")
    parser.add_argument("--out", type=Path, default=Path("report"), help="default: report/")
    parser.add_argument(
        "--x", choices=("steps", "frames", "hours"), default="steps", help="default: steps"
    )
    parser.add_argument(
        "--score", type=float, help="time to this score; default: what every arm reached"
    )
    with one_sentence_errors():
        options = parser.parse_args(argv)
        # It needs the extra `analysis`, and says so in a sentence where that is missing.
        from rl_coordconv.compare.report import write_report

        report = write_report(options.runs, options.out, options.x, options.score)
    print(f"Done: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
