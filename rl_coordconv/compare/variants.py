"""One name, colour and dash per arm, the same in every figure and table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

Dash = str | tuple[int, tuple[float, ...]]


@dataclass(frozen=True)
class Style:
    """How an arm is drawn: a colour as ``#rrggbb``, and matplotlib's line style and marker."""

    colour: str
    dash: Dash
    marker: str


_DASHED: Dash = (0, (4, 1.5))
_DOTTED: Dash = (0, (1, 1))
# Okabe and Ito's colours, which colour-blind people tell apart and which stand out from white and
# from black; where there are more arms than colours, the dashes differ too. The order is that of
# tables, so the arm without coordinates comes first and is what the others are compared with.
_STYLES = {
    "nature": Style("#0072b2", "-", "o"),
    "coordconv": Style("#d55e00", "-", "s"),
    "coordconv-all": Style("#cc79a7", "-", "^"),
    "coordconv-r": Style("#e69f00", "-", "v"),
    "nature-zeros": Style("#56b4e9", _DASHED, "D"),
    "nature-noise": Style("#009e73", _DASHED, "P"),
    "impala": Style("#7f7f7f", _DOTTED, "o"),
    "impala-coordconv": Style("#aa4499", _DOTTED, "s"),
    "impala-coordconv-all": Style("#999933", _DOTTED, "^"),
}
OWN_ARMS = frozenset(_STYLES)
_OTHERS = (
    Style("#8f6bd9", "-.", "X"),
    Style("#a6761d", "-.", "<"),
    Style("#44aa99", "-.", ">"),
    Style("#cc6677", "-.", "*"),
)


def styles(arms: Iterable[str]) -> dict[str, Style]:
    """A style for every arm, in the order of tables; the package's own extractors have fixed ones.

    >>> list(styles(["colleague", "coordconv", "nature"]))
    ['nature', 'coordconv', 'colleague']
    """
    names = set(arms)
    own = {name: style for name, style in _STYLES.items() if name in names}
    return own | dict(zip(sorted(names - own.keys()), cycle(_OTHERS), strict=False))
