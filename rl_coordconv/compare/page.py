"""Format the report as one self-contained HTML page or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

from matplotlib.figure import Figure

from rl_coordconv.compare.inline import SCRIPT
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
figure { margin: 1.5rem 0; position: relative; }
svg { width: 100%; height: auto; touch-action: pan-y; } svg.narrow { display: none; }
@media (max-width: 44rem) { svg.wide { display: none; } svg.narrow { display: block; } }
button { margin-right: 1rem; padding: .3rem 0; border: 0; color: inherit; background: none;
  font: inherit; font-size: .9rem; text-align: left; cursor: pointer; }
button[aria-pressed=false] { opacity: .45; text-decoration: line-through; }
button i { display: inline-block; width: 1.6em; margin-right: .4em; vertical-align: middle; }
.off { display: none; } circle { display: none; pointer-events: none; fill: currentColor; }
.near path { stroke-width: 3px !important; stroke-opacity: 1 !important; }
output { position: absolute; padding: .3rem .6rem; border: 1px solid var(--line);
  border-radius: 4px; background: var(--box); font-size: .85rem; line-height: 1.35;
  white-space: pre-line; pointer-events: none; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: normal; }
td:first-child { min-width: 8rem; } .number { white-space: nowrap; }
@media (max-width: 44rem) {  /* a row becomes a list of its values, each after its column's name */
  thead { display: none; } table, caption, tbody, tr, td { display: block; }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--line); }
  td { padding: .1rem 0; border: 0; overflow-wrap: anywhere; } .number { white-space: normal; }
  td:first-child { font-weight: bold; }
  td:not(:first-child) { display: flex; gap: 1rem; justify-content: space-between;
    text-align: right; }
  td:not(:first-child)::before { content: attr(data-name); color: var(--soft); text-align: left; }
}
.variant { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em; }
.notes, footer { color: var(--soft); font-size: .9rem; } a { color: inherit; }
"""


@dataclass(frozen=True)
class Drawing:
    """A figure, its file name without suffix, and its description."""

    name: str
    description: str
    figure: Figure


@dataclass(frozen=True)
class Section:
    """A section of the report; its conclusions (``verdicts``) come first."""

    title: str
    verdicts: Sequence[str] = ()
    text: Sequence[str] = ()
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


def html_page(
    sections: Sequence[Section],
    figures: Mapping[str, str],
    files: Sequence[str],
    colours: Mapping[str, str],
    links: Mapping[str, str],
) -> str:
    """Return the report as one HTML page that contains its style, figures and script.

    Args:
        sections: The sections.
        figures: The HTML of each drawing by name.
        files: Names of CSV files in the same folder, to link to.
        colours: The colour of each variant by name.
        links: Link targets by the text of a table cell.
    """
    body = "".join(_section(section, figures, colours, links) for section in sections)
    if len(sections) > _SHORT:
        titles = [section.title for section in sections]
        lines = "".join(f'<li><a href="#{_anchor(t)}">{escape(t)}</a></li>' for t in titles)
        body = f"<nav><ul>{lines}</ul></nav>\n{body}"
    tables = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in files)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Comparison of runs</title><style>{_CSS}</style></head>\n"
        f"<body><h1>Comparison of runs</h1>\n{body}<footer>Tables: {tables}</footer>"
        f"<script>\n{SCRIPT}</script></body></html>\n"
    )


def _section(
    section: Section,
    figures: Mapping[str, str],
    colours: Mapping[str, str],
    links: Mapping[str, str],
) -> str:
    title = section.title
    parts = [f'<section><h2 id="{_anchor(title)}">{escape(title)}</h2>']
    parts += [f'<p class="verdict">{escape(line)}</p>' for line in section.verdicts]
    parts += [f"<p>{escape(line)}</p>" for line in section.text]
    parts += [f"<figure>{figures[drawing.name]}</figure>" for drawing in section.drawings]
    parts += [_table(table, colours, links) for table in section.tables]
    if section.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
        parts.append(f'<ul class="notes">{items}</ul>')
    return "\n".join([*parts, "</section>\n"])


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower())


def _table(table: Table, colours: Mapping[str, str], links: Mapping[str, str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    body = "".join(
        "<tr>" + "".join(map(partial(_cell, colours, links), table.head, row)) + "</tr>"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(table.caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(colours: Mapping[str, str], links: Mapping[str, str], name: str, text: str) -> str:
    is_number = re.match(r"-?[\d,.]+[kMG]?( \(|$)", text)
    look = ' class="number"' if is_number else ""
    colour = colours.get(text)
    dot = f'<span class="variant" style="background:{colour}"></span>' if colour else ""
    shown = f'<a href="{escape(links[text])}">{escape(text)}</a>' if text in links else escape(text)
    return f'<td data-name="{escape(name)}"{look}>{dot}{shown}</td>'


def markdown(
    sections: Sequence[Section],
    title: str = "Comparison of runs",
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the report as Markdown, with the PNG figures beside it."""
    links = links or {}
    parts = [f"# {title}"]
    for section in sections:
        parts += [f"## {section.title}", *(f"**{line}**" for line in section.verdicts)]
        parts += section.text
        parts += [f"![{d.description}]({d.name}.png)" for d in section.drawings]
        for table in section.tables:
            rows = [[f"[{t}](<{links[t]}>)" if t in links else t for t in r] for r in table.rows]
            parts += [f"{table.caption}:", markdown_table(table.head, rows)]
        if section.notes:
            parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts) + "\n"
