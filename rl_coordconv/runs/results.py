"""Colours, Markdown tables and grouping over seeds, shared by all reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.stored import StoredRun

MAY_DIFFER_IN_GROUP = frozenset(
    {"seed", "log_dir", "device", "num_threads", "workers", "save_freq"}
)
"""The settings that may differ between the runs of one group."""

# The palette of Okabe and Ito: colour-blind people can distinguish the colours, and all of them are
# visible on white and on black.
BLUE = "#0072b2"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"
ORANGE = "#e69f00"
SKY_BLUE = "#56b4e9"
GREEN = "#009e73"
GREY = "#999999"

Line = Mapping[str, str]
"""A row of a table: cells by column."""

Dash = str | tuple[int, tuple[float, ...]]
_DASHED: Dash = (0, (4, 1.5))
_DOTTED: Dash = (0, (1, 1))


@dataclass(frozen=True)
class Style:
    """A variant's plot style: a colour as ``#rrggbb``, and matplotlib's line style and marker."""

    colour: str
    dash: Dash
    marker: str


# In the order of tables: the baseline, which the others are compared with, comes first. There are
# more variants than colours in the palette, so line styles differ too.
EXTRACTOR_STYLES = {
    "nature": Style(BLUE, "-", "o"),
    "coordconv": Style(VERMILION, "-", "s"),
    "coordconv-all": Style(PURPLE, "-", "^"),
    "coordconv-r": Style(ORANGE, "-", "v"),
    "nature-zeros": Style(SKY_BLUE, _DASHED, "D"),
    "nature-noise": Style(GREEN, _DASHED, "P"),
    "nature-gap": Style("#332288", "-.", "o"),
    "nature-gap-coordconv": Style("#cc3311", "-.", "s"),
    "nature-gap-noise": Style("#117733", "-.", "P"),
    "impala": Style("#7f7f7f", _DOTTED, "o"),
    "impala-coordconv": Style("#aa4499", _DOTTED, "s"),
    "impala-coordconv-all": Style("#999933", _DOTTED, "^"),
}
_OTHERS = (("#8f6bd9", "X"), ("#a6761d", "<"), ("#44aa99", ">"), ("#cc6677", "*"))
_OTHER_STYLES = [Style(c, dash, m) for dash in ("-.", _DOTTED, _DASHED) for c, m in _OTHERS]


def styles(variants: Iterable[str]) -> dict[str, Style]:
    """Return a style for every variant, in the order of tables; extractors have fixed styles.

    >>> list(styles(["colleague", "coordconv", "nature"]))
    ['nature', 'coordconv', 'colleague']
    """
    names = set(variants)
    own = {name: style for name, style in EXTRACTOR_STYLES.items() if name in names}
    return own | dict(zip(sorted(names - own.keys()), cycle(_OTHER_STYLES), strict=False))


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, align: bool = False
) -> str:
    """Return a Markdown table without a trailing newline.

    Args:
        head: Column names.
        rows: Rows of cells.
        align: Pad the cells so that the columns are aligned in plain text.

    >>> print(markdown_table(["model", "IOU"], [["deconv", "0.9"]], align=True))
    | model  | IOU |
    | ------ | --- |
    | deconv | 0.9 |
    """
    lines = [head, *rows]
    widths = [max(map(len, column)) if align else 0 for column in zip(*lines, strict=True)]
    rule = ["-" * (width if align else 3) for width in widths]
    return "\n".join(
        f"| {' | '.join(map(str.ljust, line, widths))} |" for line in (head, rule, *lines[1:])
    )


def table_of_lines(head: Sequence[str], lines: Iterable[Line]) -> str:
    """Return a Markdown table of some columns of lines, with a dash for each missing cell.

    >>> print(table_of_lines(["model", "IOU"], [{"IOU": "0.9", "seeds": "3"}]))
    | model | IOU |
    | --- | --- |
    | - | 0.9 |
    """
    return markdown_table(head, [[line.get(name, "-") for name in head] for line in lines])


def fill_tables(document: Path, tables: Mapping[str, str]) -> None:
    """Insert tables in a document, each between ``<!-- name -->`` and ``<!-- end -->``.

    Args:
        document: A Markdown file with such markers; the text between them is replaced.
        tables: Markdown tables by name; those without a marker are skipped.
    """
    text = document.read_text(encoding="utf-8")
    for name, table in tables.items():
        before, mark, after = text.partition(f"<!-- {name} -->\n")
        if mark:
            text = f"{before}{mark}{table}\n<!-- end -->{after.partition('<!-- end -->')[2]}"
    with atomic_write(document) as path:
        path.write_text(text, encoding="utf-8")


def groups_over_seeds(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """Group runs that differ only in `MAY_DIFFER_IN_GROUP`, in the order of their first run."""
    groups: dict[str, list[StoredRun]] = {}
    for run in runs:
        shared = {k: v for k, v in sorted(run.settings.items()) if k not in MAY_DIFFER_IN_GROUP}
        groups.setdefault(repr(shared), []).append(run)
    return list(groups.values())


def spread(values: Sequence[float], number: str) -> str:
    """Format values as ``mean (minimum to maximum)``.

    >>> spread([1.0, 2.0, 6.0], "{:.1f}")
    '3.0 (1.0 to 6.0)'
    """
    mean, least, largest = map(number.format, (sum(values) / len(values), min(values), max(values)))
    return mean if least == largest else f"{mean} ({least} to {largest})"
