"""Format numbers and state conclusions in sentences."""

from __future__ import annotations

import math

import numpy as np

from rl_coordconv.compare.comparison import MIN_GAMES, Comparison, Pair
from rl_coordconv.compare.games import OverGames, VariantOverGames
from rl_coordconv.compare.results import algorithm_name
from rl_coordconv.compare.statistics import LEVEL, MIN_SEEDS, Interval, level_of_each

_STEPS = 100  # at which the second half of training is examined


def number(value: float, size: float = 0.0) -> str:
    """Format a score, with decimals if it is small; ``size`` is the largest number beside it.

    >>> [number(value) for value in (1626.9, -20.74, 0.123, math.nan)]
    ['1,627', '-20.7', '0.12', '-']
    """
    if math.isnan(value):
        return "-"
    size = max(abs(value), abs(size))
    return f"{value:,.{0 if size >= 100 else 1 if size >= 1.5 else 2}f}"


def count(steps: float) -> str:
    """Abbreviate a number of steps.

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
    """Format an estimate with its interval, if there is one.

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
    """Return a heading, such as ``A2C in MsPacman, classic protocol``."""
    where = f" in {game}" if game else ""
    return f"{algorithm_name(algorithm)}{where}, {protocol} protocol"


def verdicts(comparison: Comparison) -> list[str]:
    """Return a conclusion per pair of variants, or a sentence that there is only one variant."""
    if not comparison.pairs:
        return [f"Only one variant ({comparison.variants[0].name}) was found; nothing to compare."]
    return [verdict(pair) for pair in comparison.pairs]


def verdict(pair: Pair) -> str:
    """State which variant of a pair is better, by how much, and with what confidence."""
    better, other = pair.second.name, pair.first.name
    scores = pair.scores("training")
    seeds = [len(values) for values in scores]
    at = f"at {count(pair.step)} steps"
    first, second = (number(v.mean()) if len(v) else "unknown" for v in scores)
    if not pair.has_enough_seeds:
        return (
            f"{_too_few(better, other)}, there are {seeds[1]} and {seeds[0]} {at}"
            f" (means {second} and {first})."
        )
    if not pair.has_enough_games():
        fewest = (v.n_games("training", pair.step)[0] for v in (pair.second, pair.first))
        return (
            f"Too few games to compare {better} with {other}: at least {MIN_GAMES['training']} per"
            f" seed are needed, there are {' and '.join(map(str, fewest))} {at}"
            f" (means {second} and {first})."
        )
    gap = pair.difference("training")
    if gap.value < 0:
        better, other, gap = other, better, -gap
    mean = float(min(values.mean() for values in scores))
    share = f" ({gap.value / mean:.0%})" if mean > 0 else ""
    size = max(abs(gap.low), abs(gap.high))
    higher = f"{better} scores {number(gap.value, size)} points{share} higher"
    ci = _ci(number(gap.low, size), number(gap.high, size), pair.n_pairs)
    ci += f", {_seeds(pair.second.name, seeds[1], pair.first.name, seeds[0])}"
    if gap.excludes_zero:
        return f"{higher} than {other} {at} ({ci})."
    return f"{_no_difference(pair.second.name, pair.first.name)} {at}: {higher} ({ci})."


def stopping_sentence(pair: Pair) -> str:
    """State the range of the difference over the second half; empty with too little data."""
    if not pair.is_enough:
        return ""
    gaps = pair.over_training(np.linspace(pair.step / 2, pair.step, _STEPS))
    gaps = [gap for gap in gaps if not math.isnan(gap.low)]  # none before the first games
    values = [gap.value for gap in gaps]
    size = max(map(abs, values))
    above = sum(gap.low > 0 for gap in gaps) / len(gaps)
    below = sum(gap.high < 0 for gap in gaps) / len(gaps)
    return (
        f"Over the second half of training, the difference ({pair.name}) ranged from"
        f" {number(min(values), size)} to {number(max(values), size)} points; its interval was"
        f" above zero at {above:.0%} of the steps and below zero at {below:.0%}."
    )


def seeds_sentence(comparison: Comparison) -> str:
    """State how many seeds would show a difference of 15%; empty if unknown."""
    parts = []
    for pair in comparison.pairs:
        needed = pair.seeds_needed()
        if needed is not None:
            more = max(0, needed - min(map(len, pair.scores("training"))))
            names = f"{pair.second.name} and {pair.first.name}"
            parts.append(f"{needed} each for {names} ({more or 'no'} more)")
    if not parts:
        return ""
    return (
        "To detect a 15% difference with 80% power, about this many seeds are needed, given the"
        f" spread seen so far: {'; '.join(parts)}. This is a rough estimate, as the spread of a few"
        " seeds is itself uncertain. Smaller differences need more seeds."
    )


def over_games_sentences(summary: OverGames) -> list[str]:
    """Return a conclusion per variant, comparing its mean over games with the first variant's."""
    first, *others = summary.variants
    return [_over_games_sentence(summary, first, other, len(others)) for other in others]


def _over_games_sentence(
    summary: OverGames, first: VariantOverGames, second: VariantOverGames, n_pairs: int
) -> str:
    better, other = second.name, first.name
    games = f"{len(summary.games)} games"
    seeds = _seeds(second.name, len(second.matrix), first.name, len(first.matrix))
    if min(len(first.matrix), len(second.matrix)) < MIN_SEEDS:
        return f"{_too_few(better, other)} in each of {games}."
    gap = second.mean_difference(first, level_of_each(n_pairs))
    if gap.value < 0:
        better, other, gap = other, better, -gap
    higher = f"{better} scores {gap.value:.3f} higher"
    ci = f"{_ci(f'{gap.low:.3f}', f'{gap.high:.3f}', n_pairs)}, {seeds}"
    score = "in mean human-normalised score"
    if gap.excludes_zero:
        return f"{higher} than {other} {score} over {games} ({ci})."
    return f"{_no_difference(second.name, first.name)} over {games}: {higher} {score} ({ci})."


def _seeds(second: str, n_second: int, first: str, n_first: int) -> str:
    if n_second == n_first:
        return f"{n_first} seeds each"
    return f"{n_second} seeds of {second}, {n_first} of {first}"


def _too_few(second: str, first: str) -> str:
    return f"Too few seeds to compare {second} with {first}: at least {MIN_SEEDS} each are needed"


def _no_difference(second: str, first: str) -> str:
    return f"The difference between {second} and {first} is not significant"


def _ci(low: str, high: str, n_pairs: int) -> str:
    return f"{LEVEL:.0%} CI {low} to {high}{adjustment(n_pairs)}"


def adjustment(n_pairs: int) -> str:
    """Return ``, Bonferroni-adjusted for n comparisons``; empty for one comparison."""
    return f", Bonferroni-adjusted for {n_pairs} comparisons" if n_pairs > 1 else ""
