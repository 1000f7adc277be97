"""Update the tables and curves of docs/toy.md and docs/results/toy from toy runs."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly while importing; see `end_import`

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.experiments.not_so_clevr.report import curves, read_groups, tables
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import expand_path
from rl_coordconv.runs.kept import keep
from rl_coordconv.runs.results import fill_tables
from rl_coordconv.runs.signals import end_import

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs" / "toy"


def main(argv: Sequence[str] | None = None) -> int:
    """Store new runs in docs/results/toy, update the pages, and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "runs", nargs="?", type=expand_path, help="folder of new, finished runs to add"
    )
    parser.add_argument(
        "--docs",
        type=expand_path,
        default=ROOT / "docs",
        metavar="DIR",
        help="folder of the documentation (default: docs/)",
    )
    with one_sentence_errors():
        options = parser.parse_args(argv)
        end_import()
        kept = options.docs / "results" / "toy"
        if options.runs:
            keep(options.runs, kept, ["progress"], experiment="toy")
        groups = read_groups(kept, CONFIGS)
        pages = options.docs / "toy.md", kept / "README.md"
        for page in pages:
            fill_tables(page, tables(groups))
        for task in sorted({group.config.task for group in groups}):
            curves(groups, task).savefig(kept / f"{task}.png")
    print("Done:", *pages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
