"""Differences between two variants of a supervised training, with intervals and tests.

Most are paired by seed, because runs of the same seed see the same batches in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from scipy import stats

LEVEL = 0.95
"""The level of the confidence intervals."""

_MIN_SEEDS = 3  # with fewer, there is no interval and no test
_EQUAL = 1e-12  # rounding errors

Scores = Mapping[int, float]
"""A metric by seed."""


def difference(baseline: Scores, other: Scores, text: Callable[[float], str]) -> str:
    """Return the mean difference from a baseline, with Student's t interval.

    Args:
        baseline: A metric of the baseline.
        other: The same metric of the variant to compare with it.
        text: Formats a number.

    Returns:
        ``mean (low to high)`` over the seeds that both have; with fewer than three, only the mean;
        with none, a dash.
    """
    return _interval([b - a for a, b in _pairs(baseline, other)], text)


def gain(baseline: Scores, other: Scores) -> str:
    """Return the relative difference from a baseline, for metrics above 0: a geometric mean.

    See `difference`; the interval is computed for the logarithm of the ratio. A dash if any metric
    is 0.
    """
    if any(min(pair) <= 0 for pair in _pairs(baseline, other)):
        return "-"
    ratios = [math.log(b / a) for a, b in _pairs(baseline, other)]
    return _interval(ratios, lambda x: f"{math.expm1(x):+.0%}")


def p_values(baseline: Scores, other: Scores) -> str:
    """Return two-sided p-values of the paired t-test and of Welch's, ``0.03 / 0.05``.

    A dash with fewer than three seeds, or if the difference is the same for all.
    """
    pairs = _pairs(baseline, other)
    if len(pairs) < _MIN_SEEDS:
        return "-"
    first, second = zip(*pairs, strict=True)
    differences = [b - a for a, b in pairs]
    if stdev(differences) < _EQUAL:
        return "-"
    paired = 2 * stats.t.sf(abs(fmean(differences)) / stats.sem(differences), len(pairs) - 1)
    moments = [x for scores in (first, second) for x in (fmean(scores), stdev(scores), len(pairs))]
    # Computed from moments, because scipy warns if one variant has the same score in all seeds.
    welch = stats.ttest_ind_from_stats(*moments, equal_var=False).pvalue
    return f"{paired:.2g} / {welch:.2g}"


def _pairs(baseline: Scores, other: Scores) -> list[tuple[float, float]]:
    """Return both scores of every seed that both have."""
    return [(baseline[seed], other[seed]) for seed in sorted(baseline.keys() & other.keys())]


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of at least one value, and half the width of its Student's t interval.

    The half width is NaN with fewer than three values.
    """
    if len(values) < _MIN_SEEDS:
        return fmean(values), math.nan
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
    return fmean(values), float(half)


def _interval(values: Sequence[float], text: Callable[[float], str]) -> str:
    if not values:
        return "-"
    mean, half = mean_and_half_width(values)
    if math.isnan(half):
        return text(mean)
    return f"{text(mean)} ({text(mean - half)} to {text(mean + half)})"
