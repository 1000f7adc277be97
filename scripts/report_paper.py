"""Update the pages about one of the paper's experiments, docs/NAME.md and docs/results/NAME."""

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly while importing; see `end_import`

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import expand_path
from rl_coordconv.runs.extras import may_need_extras
from rl_coordconv.runs.signals import end_import

ROOT = Path(__file__).parents[1]
EXPERIMENTS = {
    "toy": "not_so_clevr",
    "generative": "generative",
    "detection": "mnist_detection",
    "classification": "image_classification",
}
"""Names of pages, and the folders in ``rl_coordconv/experiments`` whose ``report.py`` they use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Store new runs in docs/results/NAME, update the pages, and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument(
        "experiment", metavar="NAME", choices=EXPERIMENTS, help=" or ".join(EXPERIMENTS)
    )
    parser.add_argument(
        "runs",
        nargs="?",
        type=expand_path,
        help="folder of new, finished runs to add; pictures of samples show these runs only",
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
        folder = EXPERIMENTS[options.experiment]
        with may_need_extras(f"report_paper.py {options.experiment}"):
            report = import_module(f"rl_coordconv.experiments.{folder}.report").REPORT
        end_import()
        pages = report.update(options.docs, options.runs)
    print("Done:", *pages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
