"""Timing of several candidates side by side.

Every candidate is measured once per round, and ratios are computed within a round, so that slow
phases of the machine affect all candidates equally.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import track

from rl_coordconv.runs.results import markdown_table
from rl_coordconv.runs.versions import versions

WARM_UP = 3  # unmeasured rounds

Candidates = Mapping[str, Callable[[], object]]
T = TypeVar("T")
Table = list[list[str]]  # the first row is the header


@dataclass(frozen=True)
class Spread:
    """The median and quartiles of a sample."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Compute the spread; a single value is its own median and quartiles."""
        several = values if len(values) > 1 else [*values] * 2
        low, middle, high = quantiles(several, method="inclusive")
        return cls(middle, low, high)

    def __format__(self, spec: str) -> str:
        """Format all three numbers.

        >>> f"{Spread(1.5, 1.25, 2):.2f}"
        '1.50 (1.25-2.00)'
        """
        return f"{self.median:{spec}} ({self.low:{spec}}-{self.high:{spec}})"


def spreads(numbers: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Return the spread of each candidate's numbers over the rounds."""
    return {name: Spread.of(values) for name, values in numbers.items()}


def ratios(numbers: Mapping[str, Sequence[float]], base: str) -> dict[str, Spread]:
    """Return the spread of each candidate's ratio to the candidate ``base``, within a round."""
    return {
        name: Spread.of([a / b for a, b in zip(values, numbers[base], strict=True)])
        for name, values in numbers.items()
    }


def interleave(
    candidates: Mapping[str, Callable[[], T]], rounds: int, warm_up: int, description: str = ""
) -> dict[str, list[T]]:
    """Call each candidate once per round, in random order within a round.

    Args:
        candidates: Functions by name.
        rounds: Number of measured rounds.
        warm_up: Number of rounds before them, whose results are discarded.
        description: Title of the progress bar; no bar if empty.

    Returns:
        The results of each candidate, one per round, by name.
    """
    names = list(candidates)
    order = random.Random(0)
    calls = [(i, name) for i in range(-warm_up, rounds) for name in order.sample(names, len(names))]
    results: dict[str, list[T]] = {name: [] for name in names}
    for i, name in progress(calls, description):
        result = candidates[name]()
        if i >= 0:
            results[name].append(result)
    return results


def time_interleaved(
    candidates: Candidates, rounds: int, synchronize: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Time each candidate once per round; see `interleave`.

    Args:
        candidates: Functions by name.
        rounds: Number of measured rounds, after `WARM_UP` unmeasured ones.
        synchronize: Waits for the device, for calls that return before their work is done.

    Returns:
        Seconds of each candidate, one value per round, by name.
    """
    timers = {name: partial(_seconds, call, synchronize) for name, call in candidates.items()}
    return interleave(timers, rounds, WARM_UP)


def _seconds(call: Callable[[], object], synchronize: Callable[[], None]) -> float:
    synchronize()
    start = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - start


def progress(items: Sequence[T], description: str) -> Iterable[T]:
    """Iterate with a progress bar, if there is a description and stderr is a terminal."""
    console = Console(stderr=True)
    if not (description and console.is_terminal):  # rich would print an empty line
        return items
    return track(items, description, console=console, transient=True)


@dataclass(frozen=True)
class Report:
    """The result of a benchmark."""

    numbers: dict[str, object]  # for JSON, where dataclasses become objects
    text: str  # Markdown tables and a note


def make_report(
    repeats: int, numbers: Mapping[str, object], tables: Sequence[Table], note: str
) -> Report:
    """Make a report, adding the number of rounds, the machine and library versions."""
    cores, installed = os.cpu_count(), versions()
    libraries = ", ".join(f"{name} {installed[name]}" for name in ("stable-baselines3", "ale-py"))
    general = f"""\
Medians (quartiles) of {repeats} rounds; ratios are taken within a round.
{cores} cores, torch {torch.__version__}, {libraries}."""
    printed = [markdown_table(head, rows, align=True) for head, *rows in tables]
    context = {"torch": torch.__version__, "versions": installed, "cores": cores}
    text = "\n\n".join([*printed, f"{note}\n{general}"])
    return Report({**context, "repeats": repeats, **numbers}, text)
