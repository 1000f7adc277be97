"""Timing side by side.

The candidates take intervals within each round, and a ratio is taken within a round: a machine that
slows down for a while slows down all of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import TypeVar

from rich.console import Console
from rich.progress import track

WARM_UP = 3  # rounds that do not count
# How a `Spread`, as a dict, stands in a table.
RATIO = "{median:.2f} ({low:.2f}-{high:.2f})"
SPEED = "{median:,.0f} ({low:,.0f}-{high:,.0f})"

Candidates = Mapping[str, Callable[[], object]]
T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The median of many numbers, and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise; a single value is its own quartiles."""
        several = values if len(values) > 1 else [*values] * 2
        low, middle, high = quantiles(several, method="inclusive")
        return cls(middle, low, high)


def time_interleaved(
    candidates: Candidates, repeats: int, synchronize: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Time each candidate once a round, in an order that changes from round to round.

    Args:
        candidates: What to call, by name.
        repeats: Rounds that count.
        synchronize: Waits for the device, where calls return before the work is done.

    Returns:
        Seconds, one number a round, by name.
    """
    names = list(candidates)
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for a_round in range(-WARM_UP, repeats):
        for name in order.sample(names, len(names)):
            synchronize()
            start = time.perf_counter()
            candidates[name]()
            synchronize()
            if a_round >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(numbers: Mapping[str, Sequence[float]], base: str) -> dict[str, dict[str, float]]:
    """Seconds or speeds of the candidates, as a multiple of one candidate's in the same round.

    Args:
        numbers: One number a round, by name.
        base: That one's name.

    Returns:
        By name, the median and the quartiles.
    """
    return {
        name: asdict(Spread.of([a / b for a, b in zip(values, numbers[base], strict=True)]))
        for name, values in numbers.items()
    }


def progress(items: Sequence[T], description: str) -> Iterable[T]:
    """The items, with a bar on the terminal for as long as it takes to go through them."""
    console = Console(stderr=True)
    if not console.is_terminal:  # where some versions of rich would leave an empty line
        return items
    return track(items, description, console=console, transient=True)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned for a terminal; the first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *rows = (" | ".join(map(str.ljust, line, widths)) for line in lines)
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {row} |" for row in (head, rule, *rows))
