"""The command ``compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console

from rl_coordconv.compare.results import XAxis
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import expand_path
from rl_coordconv.runs.shell import shell_command
from rl_coordconv.runs.signals import end_import


def main(description: str, argv: Sequence[str]) -> int:
    """Write the report, print its conclusions, and return the exit code."""
    parser = Parser(description=description)
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
        report = write_report(
            options.runs,
            options.out,
            options.x,
            options.score,
            options.against,
            command=shell_command("compare", *argv),
        )
    console = Console(highlight=False, markup=False)  # breaks lines between words
    for title, sentences in report.conclusions.items():
        console.print(title, *(f"- {sentence}" for sentence in sentences), "", sep="\n")
    print(f"Done: {report.page}")
    return 0
