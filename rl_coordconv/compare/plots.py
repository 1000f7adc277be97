"""Draw the report's figures. In the HTML report, `INK` is replaced by the text colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, ScalarFormatter

from rl_coordconv.compare.comparison import Comparison
from rl_coordconv.compare.games import OverGames
from rl_coordconv.compare.inline import INK, mark
from rl_coordconv.compare.published import published_scores
from rl_coordconv.compare.results import POINTS, Array, XAxis, algorithm_name
from rl_coordconv.compare.statistics import MIN_SEEDS, band, performance_profile
from rl_coordconv.runs.results import Style

_TOP = 8.0  # human-normalised score where a profile ends; bars above it need a logarithmic axis
_SHORT = 30  # characters; two names of this length fit side by side in a legend
_WIDE = 2.2  # width of a thick line in points
# Narrow with large text, to be legible on a phone.
_SIZE = (6.0, 4.0)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rl_coordconv",  # for reproducible files
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.columnspacing": 1.2,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Set the style of all figures while they are drawn and saved."""
    with mpl.rc_context(_STYLE):
        yield


def curves(comparison: Comparison, x: XAxis) -> Figure:
    """Draw scores over training: a thin line per seed, and the mean with its interval."""
    figure, axes = _axes(f"{algorithm_name(comparison.algorithm)}, {comparison.game}")
    for place, variant in enumerate(comparison.variants):
        style = variant.style
        for run in variant.runs:
            points = run.grid(x)
            look: dict[str, Any] = {"color": style.colour, "linestyle": style.dash}
            (line,) = axes.plot(points, run.score_at(points, x), linewidth=0.8, alpha=0.4, **look)
            mark(line, place, f"{variant.name}, seed {run.seed}")
        runs = variant.at(variant.step)
        ends = [run.grid(x) for run in runs]
        points = np.linspace(max(end[0] for end in ends), min(end[-1] for end in ends), POINTS)
        means = np.stack([run.score_at(points, x) for run in runs])
        seeds = f"{len(runs)} {'seed' if len(runs) == 1 else 'seeds'}"
        is_enough = variant.has_enough_games("training", variant.step)
        limits = band(means) if len(runs) >= MIN_SEEDS and is_enough else None
        name = f"{variant.name} ({seeds})"
        _line(axes, points, means.mean(axis=0), limits, style, place, name, has_legend=True)
    _published_lines(axes, comparison)
    axes.set_xlabel("hours of training" if x == "hours" else x)
    axes.set_ylabel("score, mean of the last 100 games")
    if x != "hours":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _legend(figure)
    return figure


def differences(comparison: Comparison) -> Figure:
    """Draw the difference between each pair of variants over training, with its interval."""
    pairs = [pair for pair in comparison.pairs if pair.is_enough]
    figure = Figure(figsize=(_SIZE[0], 0.6 + 1.9 * len(pairs)), layout="constrained")
    rows = figure.subplots(len(pairs), sharex=True, squeeze=False)[:, 0]
    for axes, pair in zip(rows, pairs, strict=True):
        runs = [*pair.first.at(pair.step), *pair.second.at(pair.step)]
        start = max(run.grid("steps")[0] for run in runs if run.steps.size)
        steps = np.linspace(start, pair.step, POINTS)
        gaps = pair.over_training(steps)
        values, low, high = np.array([(gap.value, gap.low, gap.high) for gap in gaps]).T
        axes.axhline(0, color=INK, linewidth=0.8)
        _line(axes, steps, values, (low, high), replace(pair.second.style, dash="-"), 0, pair.name)
        axes.set_title(pair.name, fontsize=11)
        axes.set_ylabel("points")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    rows[-1].set_xlabel("steps")
    return figure


def _published_lines(axes: Axes, comparison: Comparison) -> None:
    """Draw published scores that are in range; much higher ones would flatten the curves."""
    low, high = axes.get_ylim()
    label: str | None = "published, after 10M steps"
    for other in published_scores(comparison.algorithm, comparison.game):
        if other.protocol == comparison.protocol and low < other.score < high * 1.05:
            look: dict[str, Any] = {"color": INK, "linewidth": 0.8, "alpha": 0.35, "zorder": 1}
            line = axes.axhline(other.score, label=label, **look)
            mark(line, len(comparison.variants), other.source)
            label = None


def final_scores(comparison: Comparison) -> Figure:
    """Draw each seed's final score, and the mean with its interval."""
    figure, axes = _axes("")
    figure.suptitle(
        f"{algorithm_name(comparison.algorithm)}, {comparison.game}: final scores", fontsize=11
    )
    figure.set_figheight(1.3 + 0.5 * len(comparison.variants))
    for place, variant in enumerate(comparison.variants):
        scores = variant.scores("training", variant.step)
        mean, colour = variant.mean("training", variant.step), variant.style.colour
        marks, places = variant.style.marker, np.full(len(scores), place)
        axes.plot(scores, places, marks, color=colour, markersize=6, alpha=0.6, markeredgewidth=0)
        axes.plot([mean.low, mean.high], [place, place], color=colour, linewidth=_WIDE)
        axes.plot([mean.value], [place], "|", color=colour, markersize=16, markeredgewidth=2.5)
    _row_names(axes, [variant.name for variant in comparison.variants])
    # Centred under the figure, as long names may make the axes too narrow for it.
    figure.supxlabel("score, mean of the last 100 training games", fontsize=11)
    return figure


def profiles(summary: OverGames) -> Figure:
    """Draw the performance profile: the share of runs above each score, with its interval."""
    figure, axes = _axes(f"{algorithm_name(summary.algorithm)}: performance profile")
    scores = np.concatenate([variant.matrix.ravel() for variant in summary.variants])
    # A single game far above human level must not stretch the axis.
    thresholds = np.linspace(min(0.0, scores.min()), np.clip(scores.max(), 1, _TOP), 101)
    for place, variant in enumerate(summary.variants):
        shares, *limits = performance_profile(variant.matrix, thresholds)
        look = variant.style, place, variant.name
        _line(axes, thresholds, shares, (limits[0], limits[1]), *look, has_legend=True)
    axes.set_xlabel("human-normalised score")
    axes.set_ylabel("share of runs above it")
    axes.set_ylim(0, 1.02)
    _legend(figure)
    return figure


def game_bars(summary: OverGames) -> Figure:
    """Draw a bar for the mean score of each game and variant, and a dot per seed."""
    figure, axes = _axes(f"{algorithm_name(summary.algorithm)}: games")
    n_games, n_variants = len(summary.games), len(summary.variants)
    thickness = 0.8 / n_variants
    figure.set_figheight(1.4 + n_games * max(0.45, 0.22 * n_variants))
    for index, variant in enumerate(summary.variants):
        places = np.arange(n_games) + (index + 0.5) * thickness - 0.4
        means = [float(variant.scores[game].mean()) for game in summary.games]
        look: dict[str, Any] = {"color": variant.style.colour, "label": variant.name}
        for bar in axes.barh(places, means, 0.9 * thickness, alpha=0.75, **look):
            mark(bar, index)
        for place, game in zip(places, summary.games, strict=True):
            scores = variant.scores[game]
            dots = axes.plot(scores, np.full(len(scores), place), ".", color=INK, markersize=4)
            mark(dots[0], index)
    _row_names(axes, summary.games)
    axes.axvline(1, color=INK, linewidth=0.8, alpha=0.5)
    if axes.get_xlim()[1] > _TOP:
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    figure.supxlabel("human-normalised score (0: random, 1: human)", fontsize=11)
    _legend(figure)
    return figure


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


def _legend(figure: Figure) -> None:
    _, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(loc="outside upper left", ncols=2 if max(map(len, labels)) <= _SHORT else 1)


def _line(
    axes: Axes,
    x: Array,
    y: Array,
    limits: tuple[Array, Array] | None,
    style: Style,
    place: int,
    name: str,
    *,
    has_legend: bool = False,
) -> None:
    """Draw a thick line, with a band between the limits."""
    colour, label = style.colour, name if has_legend else None
    look: dict[str, Any] = {"color": colour, "linestyle": style.dash, "linewidth": _WIDE}
    (line,) = axes.plot(x, y, label=label, **look)
    mark(line, place, name)
    if limits:
        mark(axes.fill_between(x, *limits, color=colour, alpha=0.18, linewidth=0), place)


def _row_names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
