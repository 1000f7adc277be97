"""Differences between two models, paired by seed, with Student's t intervals.

Runs of the same seed see the same batches in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy import stats

from rl_coordconv.experiments.mnist_detection.groups import Group

LEVEL = 0.95
"""The level of the confidence intervals."""

_MIN_SEEDS = 3  # with fewer, there is no interval


def difference(baseline: Group, group: Group, column: str, number: str) -> str:
    """Return the mean difference from a baseline in a column of the last evaluation.

    Args:
        baseline: The baseline.
        group: The model to compare with it.
        column: A column of ``progress.csv``.
        number: The format string.

    Returns:
        ``mean (low to high)`` over the seeds of both, the mean only with fewer than three, and a
        dash with none.
    """
    pairs = _pairs(baseline, group, column)
    return _interval([b - a for a, b in pairs], number.format)


def gain(baseline: Group, group: Group, column: str) -> str:
    """Return the relative difference from a baseline, for metrics above 0: a geometric mean.

    See `difference`; the interval is computed for the logarithm of the ratio.
    """
    pairs = _pairs(baseline, group, column)
    return _interval([math.log(b / a) for a, b in pairs], lambda x: f"{math.expm1(x):+.0%}")


def _pairs(baseline: Group, group: Group, column: str) -> list[tuple[float, float]]:
    """Return the values of both models for every seed that both have."""
    first, second = baseline.values(column), group.values(column)
    return [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]


def _interval(values: Sequence[float], text: Callable[[float], str]) -> str:
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if len(values) < _MIN_SEEDS:
        return text(mean)
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
    return f"{text(mean)} ({text(mean - half)} to {text(mean + half)})"
