"""Make the HTML report's figures interactive: hover over curves, hide and show variants.

Figures are matplotlib SVGs with a short script, so they look the same in the page, as PNG and
without scripts. With Plotly or Bokeh, each figure would be drawn twice, and each report, which must
open offline, would contain 4.8 or 1.3 MB of their code.
"""

from __future__ import annotations

import io
import json
import re
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

INK = "#20242c"
SCRIPT = Path(__file__).with_name("inline.js").read_text("utf-8")
# Widths in inches for wide and narrow windows that make a figure's labels as large as the text.
_WIDTHS = {"wide": 11.0, "narrow": 4.5}
_POINTS = 72  # per inch; the unit in matplotlib's SVG


def mark(artist: Artist, place: int, label: str = "") -> None:
    """Mark a part of a figure with its variant, for the script.

    Args:
        artist: The part.
        place: The variant's position in the legend.
        label: Text to show on hover; empty for none.
    """
    artist.set_gid(f"series-{place}|{label}")


def svg(figure: Figure) -> str:
    """Return a figure as SVG, with marks as attributes ``data-series`` and ``data-label``."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    marks = r'data-series="\1" data-label="\2"'
    return re.sub(r'id="series-(\d+)\|([^"]*)"', marks, file.getvalue())


def inline_figure(figure: Figure, name: str, description: str) -> str:
    """Return a figure as HTML: a button per legend entry, and SVGs for wide and narrow windows.

    Args:
        figure: The figure; its legend, layout and width are changed.
        name: Prefix of all ids.
        description: The figure's description for screen readers.
    """
    parts = []
    if figure.legends:
        parts.append(_switches(figure))
        for legend in list(figure.legends):
            legend.remove()
    figure.set_layout_engine("constrained")
    for kind, inches in _WIDTHS.items():
        figure.set_figwidth(inches)
        text = svg(figure)
        text = text[text.index("<svg") :].replace(INK, "currentColor")
        text = re.sub(r'(?<= )(id="|xlink:href="#)|(url\(#)', rf"\g<0>{name}-{kind}-", text)
        text = re.sub(r' width="[^"]*" height="[^"]*"', "", text, count=1)
        # Round to a hundredth of a point, which saves a third of the size.
        text = re.sub(r' d="[^"]*"', lambda d: re.sub(r"(\.\d\d)\d+", r"\1", d[0]), text)
        attributes = {
            "class": kind,
            "role": "img",
            "aria-label": description,
            "data-axes": json.dumps(_axes(figure)),
        }
        written = "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
        parts.append(text.replace("<svg", f"<svg{written}", 1))
    return "\n".join([*parts, "<output hidden></output>"])


def _switches(figure: Figure) -> str:
    buttons = []
    handles, labels = figure.axes[0].get_legend_handles_labels()
    for handle, label in zip(handles, labels, strict=True):
        artist: Any = handle[0] if isinstance(handle, BarContainer) else handle
        place = artist.get_gid().partition("|")[0].removeprefix("series-")
        is_line = isinstance(artist, Line2D)
        colour = to_hex(artist.get_color() if is_line else artist.get_facecolor())
        ink = "currentColor" if colour == INK else colour
        line = "dashed" if is_line and artist.get_linestyle() != "-" else "solid"
        buttons.append(
            f'<button type="button" value="{place}" aria-pressed="true" title="show or hide">'
            f'<i style="border-top: 3px {line} {ink}"></i>{escape(label)}</button>'
        )
    return f'<div class="switches">{"".join(buttons)}</div>'


def _axes(figure: Figure) -> list[dict[str, object]]:
    """Return each plot's box in the SVG, its axis limits and the names of its axes."""
    width, height = figure.get_size_inches() * _POINTS
    found: list[dict[str, object]] = []
    for axes in figure.axes:
        box = axes.get_position()
        names = [label.partition(",")[0] for label in (axes.get_xlabel(), axes.get_ylabel())]
        # Rows share the x-label of the last row.
        names[0] = names[0] or figure.axes[-1].get_xlabel().partition(",")[0]
        found.append(
            {
                "x": [round(float(x) * width, 2) for x in box.intervalx],
                "y": [round(float(1 - y) * height, 2) for y in box.intervaly],
                "limits": [*map(float, axes.get_xlim()), *map(float, axes.get_ylim())],
                "names": names,
            }
        )
    return found
