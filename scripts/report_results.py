"""Make docs/results/README.md from the runs that are kept there."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.runs.config import Parser, one_sentence_errors

ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Keep what counts of new runs, write the page, and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=Path, help="folder of new, finished runs to add")
    parser.add_argument("--name", help="the folder below docs/results to add them to")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="default: docs/")
    with one_sentence_errors():
        options = parser.parse_args(argv)
        if bool(options.runs) != bool(options.name):
            parser.error("runs and --name go together")
        if options.name and Path(options.name).name != options.name:
            parser.error(f"--name is that of one folder, not {options.name}")
        # It needs the extra `analysis`, and says so in a sentence where that is missing.
        from rl_coordconv.compare.kept import keep, write_page

        results = options.docs / "results"
        if options.runs:
            about = results / options.name / "about.md"
            if not about.exists():
                parser.error(f"write {about} first: how the runs were made")
            keep(options.runs, about.parent)
        page = write_page(results)
    print(f"Done: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
