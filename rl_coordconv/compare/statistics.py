"""Compute confidence intervals: by plain formulas for one game, with rliable for several.

In one game, a mean over seeds has Student's t interval and a difference Welch's t interval, because
a percentile bootstrap of three to five values is too narrow (see the coverage of each in
``docs/compare.md``). Curves and aggregates over games have bootstrap intervals, as is usual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rl_coordconv.compare.results import Array
from rl_coordconv.runs.config import UserError

try:
    from rliable import library, metrics
    from scipy import stats
except (ImportError, TypeError) as error:  # arch fails with a TypeError where pandas is too new
    raise UserError(
        f"The comparison needs packages that are missing or incompatible ({error}): "
        "pip install 'rl_coordconv[analysis]'."
    ) from None

LEVEL = 0.95
MIN_SEEDS = 3  # with fewer, there is no interval and no conclusion
_MANY_SEEDS = 10  # enough for a bootstrap interval to have nearly its nominal coverage
_REPETITIONS = 2000
_SEED = 0
_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_SHARE = 0.15  # of a mean: the difference to detect
_POWER = 0.8


def level_of_each(n: int) -> float:
    """Return the level of each of ``n`` intervals that hold jointly at `LEVEL` (Bonferroni)."""
    return 1 - (1 - LEVEL) / n


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; ``low`` and ``high`` are NaN without one."""

    value: float
    low: float = float("nan")
    high: float = float("nan")

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 is outside; false without an interval."""
        return self.low > 0 or self.high < 0

    def __neg__(self) -> Interval:
        return Interval(-self.value, -self.high, -self.low)


def mean_interval(scores: Array) -> Interval:
    """Return the mean of scores ``[seeds]``, with Student's t interval if there are three."""
    mean = float(scores.mean()) if scores.size else float("nan")
    if scores.size < MIN_SEEDS:
        return Interval(mean)
    half = stats.t.ppf(_TAILS[1], scores.size - 1) * stats.sem(scores)
    return Interval(mean, float(mean - half), float(mean + half))


def difference(a: Array, b: Array, level: float = LEVEL) -> Interval:
    """Return the difference of means b - a, with Welch's t interval if both have three seeds.

    Over several games, it is the mean of the games' differences, whose variances are summed.

    Args:
        a: Scores of a variant ``[seeds]`` or ``[seeds, games]``.
        b: Scores of another, in the same games.
        level: The confidence level.
    """
    if not (a.size and b.size):
        return Interval(float("nan"))
    value = float(b.mean() - a.mean())
    if min(len(a), len(b)) < MIN_SEEDS:
        return Interval(value)
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    games = a.shape[1]
    errors = np.concatenate([x.var(axis=0, ddof=1) / len(x) for x in (a, b)]) / games**2
    if not errors.any():
        return Interval(value, value, value)
    freedom = np.repeat([len(a) - 1, len(b) - 1], games)
    t = stats.t.ppf((1 + level) / 2, errors.sum() ** 2 / (errors**2 / freedom).sum())
    half = float(t * np.sqrt(errors.sum()))
    return Interval(value, value - half, value + half)


def probability_of_improvement(a: Array, b: Array) -> Interval:
    """Return the probability that a seed of ``b`` beats a seed of ``a``, ties counting half.

    Equal to rliable's, but computed for all bootstrap samples at once. There is no interval with
    fewer than ten seeds: if all of three seeds won, its width would be zero.
    """
    if not (a.size and b.size):
        return Interval(float("nan"))
    wins = (b[:, None] > a) + 0.5 * (b[:, None] == a)  # [seeds of b, seeds of a]
    if min(a.size, b.size) < _MANY_SEEDS:
        return Interval(float(wins.mean()))
    weights_a, weights_b = _resampled(a.size), _resampled(b.size, _SEED + 1)
    samples = np.einsum("ri,ij,rj->r", weights_b, wins, weights_a)
    low, high = np.quantile(samples, _TAILS).clip(0, 1)  # rounding errors may exceed [0, 1]
    return Interval(float(wins.mean()), float(low), float(high))


def band(curves: Array) -> tuple[Array, Array]:
    """Return the bootstrap interval of the mean of curves ``[seeds, points]``, point by point.

    Whole curves are resampled, because the points of a curve are not independent.
    """
    weights = _resampled(len(curves))
    low, high = np.quantile(weights @ curves, _TAILS, axis=0)
    return low, high


def _resampled(n: int, seed: int = _SEED) -> Array:
    """Return the weight of each of ``n`` values in bootstrap samples ``[repetitions, n]``."""
    drawn = np.random.default_rng(seed).integers(n, size=(_REPETITIONS, n))
    return np.asarray((drawn[:, :, None] == np.arange(n)).mean(axis=1))


def seeds_needed(a: Array, b: Array, level: float = LEVEL) -> int | None:
    """Return the seeds per variant needed to detect a difference of 15% with 80% power.

    For a t-test with the pooled variance. The difference is 15% of ``a``'s mean. None if the
    variance is unknown, or if 1000 seeds or more are needed.

    Args:
        a: Scores of the first variant, one per seed.
        b: Scores of the other.
        level: The confidence level of the test's interval.
    """
    freedom = a.size + b.size - 2
    effect = _SHARE * abs(float(a.mean())) if a.size else 0.0
    if min(a.size, b.size) < MIN_SEEDS or effect == 0:
        return None
    variance = ((a.size - 1) * a.var(ddof=1) + (b.size - 1) * b.var(ddof=1)) / freedom
    if variance == 0:
        return MIN_SEEDS
    n = np.arange(MIN_SEEDS, 1000)
    critical = stats.t.ppf((1 + level) / 2, 2 * n - 2)
    seen = stats.nct.sf(critical, 2 * n - 2, effect / np.sqrt(2 * variance / n))
    enough = np.flatnonzero(seen >= _POWER)
    return int(n[enough[0]]) if enough.size else None


AGGREGATES: dict[str, Callable[[Array], float]] = {
    "IQM": metrics.aggregate_iqm,
    "median": metrics.aggregate_median,
    "mean": metrics.aggregate_mean,
    "optimality gap": metrics.aggregate_optimality_gap,
}


def aggregates(scores: Array) -> dict[str, Interval]:
    """Return aggregates of scores ``[seeds, games]`` by name, with stratified bootstrap intervals.

    The interquartile mean (IQM) needs four values, as it trims none of fewer.
    """
    names = [name for name in AGGREGATES if name != "IQM" or scores.size >= 4]

    def every(matrix: Array) -> Array:
        return np.array([AGGREGATES[name](matrix) for name in names])

    values, low, high = _estimates(scores, every)
    return {
        name: Interval(*map(float, row))
        for name, *row in zip(names, values, low, high, strict=True)
    }


def performance_profile(scores: Array, thresholds: Array) -> tuple[Array, Array, Array]:
    """Return the share of runs above each threshold, and its interval, ``[thresholds]`` each."""
    return _estimates(scores, lambda matrix: (matrix[:, :, None] > thresholds).mean(axis=(0, 1)))


def _estimates(scores: Array, function: Callable[[Array], Array]) -> tuple[Array, Array, Array]:
    if len(scores) < MIN_SEEDS:
        values = function(scores)
        return values, np.full_like(values, np.nan), np.full_like(values, np.nan)
    with _reproducible():
        values, intervals = library.get_interval_estimates(
            {"scores": scores}, function, reps=_REPETITIONS, confidence_interval_size=LEVEL
        )
    return values["scores"], *intervals["scores"]


@contextmanager
def _reproducible() -> Iterator[None]:
    """Seed NumPy's global generator, and restore its state at the end.

    rliable accepts a random state, but draws from the global generator.
    """
    state = np.random.get_state()  # noqa: NPY002 - rliable draws from it
    np.random.seed(_SEED)  # noqa: NPY002 - rliable draws from it
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 - rliable draws from it
