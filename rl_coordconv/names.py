"""Names of the extractors and their settings, without importing torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar

Placement = Literal["none", "first", "all"] | Sequence[int | str]
Control = Literal["zeros", "noise"]
Precision = Literal["float32", "bf16"]
Entry = TypeVar("Entry")


class NetworkSettings(TypedDict, total=False):
    """The keyword arguments of a `networks.ImageNetwork`."""

    coordinates: Placement
    with_r: bool
    control: Control | None
    precision: Precision
    global_pooling: bool


NAMES: dict[str, tuple[Literal["nature", "impala"], NetworkSettings]] = {
    "nature": ("nature", {"coordinates": "none"}),
    "coordconv": ("nature", {"coordinates": "first"}),
    "coordconv-all": ("nature", {"coordinates": "all"}),
    "coordconv-r": ("nature", {"coordinates": "first", "with_r": True}),
    "nature-zeros": ("nature", {"coordinates": "first", "control": "zeros"}),
    "nature-noise": ("nature", {"coordinates": "first", "control": "noise"}),
    "nature-gap": ("nature", {"coordinates": "none", "global_pooling": True}),
    "nature-gap-coordconv": ("nature", {"coordinates": "first", "global_pooling": True}),
    "nature-gap-noise": (
        "nature",
        {"coordinates": "first", "control": "noise", "global_pooling": True},
    ),
    "impala": ("impala", {"coordinates": "none"}),
    "impala-coordconv": ("impala", {"coordinates": "first"}),
    "impala-coordconv-all": ("impala", {"coordinates": "all"}),
}
"""Extractors by name: the network and its keyword arguments."""


def find_by_name(name: object, table: Mapping[Any, Entry], kind: str = "extractor") -> Entry:
    """Look up a name in `NAMES` or another table.

    Raises:
        ValueError: The name is unknown; the message suggests the nearest one.
    """
    if (name is None or isinstance(name, str)) and name in table:
        return table[name]
    names = sorted(map(str, table))
    nearest = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(names)}."
    raise ValueError(f"There is no {kind} {name!r}; {hint}")
