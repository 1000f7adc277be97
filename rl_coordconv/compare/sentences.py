"""Numbers and verdicts as a reader sees them."""

from __future__ import annotations

import math

import numpy as np

from rl_coordconv.compare.comparison import Comparison, Pair
from rl_coordconv.compare.games import OverGames
from rl_coordconv.compare.statistics import LEVEL, MIN_SEEDS, Interval, level_of_each

_STEPS = 100  # at which a training's second half is looked at


def number(value: float, size: float = 0.0) -> str:
    """A score, with decimals where it, or the largest number beside it, is small.

    >>> [number(value) for value in (1626.9, -20.74, 0.123, math.nan)]
    ['1,627', '-20.7', '0.12', '-']
    """
    if math.isnan(value):
        return "-"
    size = max(abs(value), abs(size))
    return f"{value:,.{0 if size >= 100 else 1 if size >= 1.5 else 2}f}"


def count(steps: float) -> str:
    """Steps, shortened.

    >>> [count(steps) for steps in (960, 250_016, 10_000_000)]
    ['960', '250k', '10M']
    """
    if math.isnan(steps):
        return "-"
    for size, unit in (1e9, "G"), (1e6, "M"), (1e3, "k"):
        if steps >= 0.9995 * size:
            return f"{steps / size:.3g}{unit}"
    return f"{steps:.0f}"


def interval(estimate: Interval, form: str = "") -> str:
    """An estimate with its interval, if there is one.

    >>> interval(Interval(190, -25.2, 405))
    '190 (-25 to 405)'
    """
    if math.isnan(estimate.value):
        return "-"
    if math.isnan(estimate.low):
        return format(estimate.value, form) if form else number(estimate.value)
    size = max(abs(estimate.low), abs(estimate.high))
    value, low, high = (
        format(x, form) if form else number(x, size)
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low} to {high})"


def title(algorithm: str, protocol: str, *, game: str = "") -> str:
    """A heading, as ``A2C in MsPacman, classic protocol``."""
    name = algorithm.upper() if algorithm != "unknown" else "Unknown algorithm"
    return f"{name}{f' in {game}' if game else ''}, {protocol} protocol"


def verdicts(comparison: Comparison) -> list[str]:
    """One sentence per pair of arms, or that there is nothing to compare."""
    if not comparison.pairs:
        arm = comparison.arms[0]
        return [f"There is one arm only, {arm.name}, so nothing is compared."]
    judged = sum(pair.is_enough for pair in comparison.pairs)
    return [verdict(pair, judged) for pair in comparison.pairs]


def verdict(pair: Pair, of_pairs: int = 1) -> str:
    """Is the second arm better than the first, by how much, how sure."""
    a, b = pair.first.name, pair.second.name
    scores = pair.scores("training")
    seeds = [len(values) for values in scores]
    at = f"at step {count(pair.step)}"
    if not pair.is_enough:
        seen = " and ".join(number(v.mean()) if len(v) else "unknown" for v in scores)
        return (
            f"No conclusion holds about {b} against {a}: it takes {MIN_SEEDS} seeds of each, and"
            f" there are {seeds[1]} and {seeds[0]} {at} (mean scores {seen} of {a} and {b})."
        )
    gap = pair.difference("training")
    better, other = (b, a) if gap.value >= 0 else (a, b)
    low, high = (gap.low, gap.high) if gap.value >= 0 else (-gap.high, -gap.low)
    mean = float(min(values.mean() for values in scores))
    share = f" ({abs(gap.value) / mean:.0%})" if mean > 0 else ""
    size = max(abs(low), abs(high))
    sure = (
        f"{LEVEL:.0%} interval{_widened(of_pairs)}: {number(low, size)} to {number(high, size)};"
        f" {seeds[1]} and {seeds[0]} seeds"
    )
    more = f"{better} scores {number(abs(gap.value), size)} points{share} more"
    if gap.excludes_zero:
        return f"{more} than {other} {at} ({sure})."
    return (
        f"No difference between {b} and {a} can be claimed {at}: {more}, but the interval includes"
        f" zero ({sure})."
    )


def stopping_sentence(pair: Pair) -> str:
    """Where one stops matters: what other steps say; empty where no conclusion holds."""
    if not pair.is_enough:
        return ""
    gaps = pair.over_training(np.linspace(pair.step / 2, pair.step, _STEPS))
    values = [gap.value for gap in gaps]
    above, below = (
        f"{sum(side) / len(gaps):.0%}"
        for side in ([gap.low > 0 for gap in gaps], [gap.high < 0 for gap in gaps])
    )
    size = max(map(abs, values))
    return (
        f"Over the second half of the training {pair.second.name} less {pair.first.name} went from"
        f" {number(min(values), size)} to {number(max(values), size)} points, with an interval"
        f" above zero at {above} of the steps and below zero at {below}."
    )


def _widened(n: int) -> str:
    return "" if n == 1 else f", widened for {n} comparisons"


def seeds_sentence(comparison: Comparison) -> str:
    """How many seeds would show a difference of 15%; empty where that is not known."""
    parts = []
    for pair in comparison.pairs:
        needed = pair.seeds_needed()
        if needed is not None:
            more = max(0, needed - min(map(len, pair.scores("training"))))
            names = f"{pair.second.name} and {pair.first.name}"
            parts.append(f"{needed} each of {names} ({more or 'none'} more)")
    if not parts:
        return ""
    return (
        "To see a difference of 15% four times in five takes about this many seeds, by the spread"
        f" seen so far: {'; '.join(parts)}. The spread of a few seeds is rough itself, so this may"
        " be far off; a smaller difference takes more."
    )


def over_games_sentences(summary: OverGames) -> list[str]:
    """What the numbers over several games allow to say."""
    first, *others = summary.arms
    sentences = []
    for arm in others:
        if min(len(first.matrix), len(arm.matrix)) < MIN_SEEDS:
            sentences.append(
                f"No conclusion holds about {arm.name} against {first.name} over these games: it"
                f" takes {MIN_SEEDS} seeds of each in every game."
            )
            continue
        gap = arm.mean_difference(first, level_of_each(len(others)))
        word = "more" if gap.value > 0 else "less"
        claim = (
            f"{arm.name} scores {abs(gap.value):.3f} {word} than {first.name}"
            if gap.excludes_zero
            else f"No difference between {arm.name} and {first.name} can be claimed"
        )
        sentences.append(
            f"{claim} over {len(summary.games)} games, in mean human-normalised score"
            f" ({LEVEL:.0%} interval of the difference{_widened(len(others))}:"
            f" {gap.low:.3f} to {gap.high:.3f})."
        )
    return sentences
