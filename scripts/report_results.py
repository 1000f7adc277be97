"""Write docs/results/README.md about the runs stored in docs/results."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly while importing; see `end_import`

import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import expand_path
from rl_coordconv.runs.signals import end_import
from rl_coordconv.runs.stored import store_runs

ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Store new runs, write the page, and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("runs", nargs="?", type=expand_path, help="folder of finished runs to add")
    parser.add_argument("--name", help="name of the study in docs/results to add them to")
    parser.add_argument(
        "--docs",
        type=expand_path,
        default=ROOT / "docs",
        metavar="DIR",
        help="folder of the documentation (default: docs/)",
    )
    with one_sentence_errors():
        options = parser.parse_args(argv)
        if bool(options.runs) != bool(options.name):
            parser.error("give both runs and --name, or neither")
        if options.name and Path(options.name).name != options.name:
            parser.error(f"--name must be the name of one folder, not {options.name}")
        # Imported here for its one-sentence error if the extra `analysis` is missing.
        from rl_coordconv.compare.results_page import write_page

        end_import()
        results = options.docs / "results"
        if options.runs:
            about = results / options.name / "about.md"
            if not about.exists():
                parser.error(f"first describe in {about} how the runs were made")
            store_runs(options.runs, about.parent, ("episodes", "evaluations"))
        page = write_page(results)
    print(f"Done: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
