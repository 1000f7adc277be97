"""The report's form: one self-contained HTML page, or Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from rl_coordconv.compare.plots import inline_svg
from rl_coordconv.compare.tables import Table
from rl_coordconv.runs.results import markdown_table

_SHORT = 4  # sections; a longer page has a table of contents
_CSS = """
:root { color-scheme: light dark; --ink: #20242c; --paper: #fff; --soft: #5d6470; --line: #d9dce1;
  --box: #f4f5f7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16181d; --soft: #a0a7b2;
  --line: #363b45; --box: #21252c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 66rem; padding: 1rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
.verdict { background: var(--box); border-left: 4px solid var(--soft); border-radius: 4px;
  padding: .6rem .9rem; font-weight: 500; }
figure { margin: 1rem 0; max-width: 40rem; } svg { width: 100%; height: auto; display: block; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
td:first-child { min-width: 8rem; } .number { white-space: nowrap; }
.variant { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em; }
.notes, footer { color: var(--soft); font-size: .9rem; } a { color: inherit; }
"""


@dataclass(frozen=True)
class Drawing:
    """A figure, its file's name without the ending, and its description."""

    name: str
    description: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """A part of the report; the verdicts come first."""

    title: str
    verdicts: Sequence[str] = ()
    text: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def html_page(
    sections: Sequence[Section],
    vectors: Mapping[str, str],
    files: Sequence[str],
    colours: Mapping[str, str],
) -> str:
    """Return the report as one HTML page with its style and figures, and without scripts.

    Args:
        sections: Its parts.
        vectors: Each drawing's SVG by name.
        files: Names of the CSV files beside it.
        colours: Each variant's colour by name.
    """
    body = "".join(_section(section, vectors, colours) for section in sections)
    if len(sections) > _SHORT:
        titles = [section.title for section in sections]
        lines = "".join(f'<li><a href="#{_anchor(t)}">{escape(t)}</a></li>' for t in titles)
        body = f"<nav><ul>{lines}</ul></nav>\n{body}"
    links = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in files)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Comparison of runs</title><style>{_CSS}</style></head>\n"
        f"<body><h1>Comparison of runs</h1>\n{body}<footer>Tables: {links}</footer></body></html>\n"
    )


def _section(section: Section, vectors: Mapping[str, str], colours: Mapping[str, str]) -> str:
    title = section.title
    parts = [f'<section><h2 id="{_anchor(title)}">{escape(title)}</h2>']
    parts += [f'<p class="verdict">{escape(line)}</p>' for line in section.verdicts]
    parts += [f"<p>{escape(line)}</p>" for line in section.text]
    for drawing in section.drawings:
        vector = inline_svg(vectors[drawing.name], drawing.name, drawing.description)
        parts.append(f"<figure>{vector}</figure>")
    parts += [_table(table, colours) for table in section.tables]
    if section.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
        parts.append(f'<ul class="notes">{items}</ul>')
    return "\n".join([*parts, "</section>\n"])


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _table(table: Table, colours: Mapping[str, str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = [f"<tr>{''.join(_cell(text, colours) for text in row)}</tr>" for row in table.rows]
    return (
        f'<div class="wide"><table><caption>{escape(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(text: str, colours: Mapping[str, str]) -> str:
    is_number = re.match(r"-?[\d,.]+[kMG]?( \(|$)", text)
    look = ' class="number"' if is_number else ""
    colour = colours.get(text)
    dot = f'<span class="variant" style="background:{colour}"></span>' if colour else ""
    return f"<td{look}>{dot}{escape(text)}</td>"


def markdown(sections: Sequence[Section], title: str = "Comparison of runs") -> str:
    """Return the report as Markdown, with the PNG figures beside it."""
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *(f"**{line}**" for line in section.verdicts)]
        parts += section.text
        parts += [f"![{d.description}]({d.name}.png)" for d in section.drawings]
        for table in section.tables:
            parts += [f"{table.caption}:", markdown_table(table.head, table.rows)]
        if section.notes:
            parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts) + "\n"
