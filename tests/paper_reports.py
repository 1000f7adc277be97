"""Run folders and checks for the reports about the paper's experiments."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.runs.config import Config
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.reports import Report
from rl_coordconv.runs.results import fill_tables

DOCS = CONFIGS.parent / "docs"


def write_finished_run(
    config: Config, last: Mapping[str, object], *, epochs: int, seconds: float, updates: int
) -> Run:
    """Write a run folder as training does, with zeros before the last evaluation."""
    run = Run(config.folder)
    run.folder.mkdir(parents=True)
    run.config.write_text(yaml.safe_dump(config.model_dump()))
    run.versions.write_text('{"device": "cpu"}')
    rows = [[0, 0, 0, *(0 for _ in last)], [epochs, seconds, updates, *last.values()]]
    lines = [["step", "seconds", "updates", *last], *rows]
    run.progress.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    run.done.touch()
    return run


def cells(tables: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    """Return the cells of Markdown tables, a dictionary by column for each line."""
    parts = {name: [x[2:-2].split(" | ") for x in t.splitlines()] for name, t in tables.items()}
    return {
        name: [dict(zip(head, line, strict=True)) for line in lines]
        for name, (head, _, *lines) in parts.items()
    }


def pages(docs: Path, name: str) -> list[Path]:
    """Return both pages of a report."""
    return [docs / f"{name}.md", docs / "results" / name / "README.md"]


def assert_pages_are_up_to_date(report: Report, folder: Path) -> None:
    """Check that the pages in the repository have the tables of the runs stored there.

    Args:
        report: The report.
        folder: An empty folder.
    """
    made = report.tables(DOCS / "results" / report.name)
    text = ""
    for page in pages(DOCS, report.name):
        copy = folder / page.name
        copy.write_text(page.read_text())
        fill_tables(copy, made)
        assert copy.read_text() == page.read_text()
        text += page.read_text()
    assert all(f"<!-- {name} -->\n{table}\n<!-- end -->" in text for name, table in made.items())
