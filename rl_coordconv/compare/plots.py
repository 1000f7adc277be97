"""Figures. Ink is one colour, which the HTML report replaces by that of its text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, ScalarFormatter

from rl_coordconv.compare.comparison import Comparison
from rl_coordconv.compare.games import OverGames
from rl_coordconv.compare.published import peers_of
from rl_coordconv.compare.results import FRAMES_PER_STEP, Array, RunResult
from rl_coordconv.compare.statistics import MIN_SEEDS, band, mean_interval
from rl_coordconv.compare.variants import Style

XAxis = Literal["steps", "frames", "hours"]

INK = "#20242c"
_POINTS = 200
_TOP = 8.0  # human-normalised score above which a figure no longer shows the rest
# Narrow, with large letters, so that a telephone shows it readable.
_SIZE = (6.0, 4.0)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rl_coordconv",  # the same figure is the same file
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "legend.columnspacing": 1.2,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


@contextmanager
def house_style() -> Iterator[None]:
    """How all figures look; to draw and to save in."""
    with mpl.rc_context(_STYLE):
        yield


def curves(comparison: Comparison, x: XAxis) -> Figure:
    """Scores over training: every seed a thin line, an arm's mean a thick one with its band."""
    figure, axes = _axes(f"{comparison.algorithm.upper()}, {comparison.game}")
    for arm in comparison.arms:
        look: dict[str, Any] = {"color": arm.style.colour, "linestyle": arm.style.dash}
        for run in arm.runs:
            points = grid(run, x)
            axes.plot(points, score(run, points, x), linewidth=0.8, alpha=0.4, **look)
        runs = arm.at(arm.step)
        ends = [grid(run, x) for run in runs]
        points = np.linspace(max(end[0] for end in ends), min(end[-1] for end in ends), _POINTS)
        means = np.stack([score(run, points, x) for run in runs])
        label = f"{arm.name} ({len(runs)} {'seed' if len(runs) == 1 else 'seeds'})"
        axes.plot(points, means.mean(axis=0), linewidth=2.2, label=label, **look)
        if len(runs) >= MIN_SEEDS:
            axes.fill_between(points, *band(means), color=arm.style.colour, alpha=0.18, linewidth=0)
    _peer_lines(axes, comparison)
    axes.set_xlabel({"steps": "steps", "frames": "frames", "hours": "hours of training"}[x])
    axes.set_ylabel("score, mean of the last 100 games")
    if x != "hours":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def differences(comparison: Comparison) -> Figure:
    """What lies between two arms over the training, with its interval: where one stops matters."""
    pairs = [pair for pair in comparison.pairs if pair.is_enough]
    figure = Figure(figsize=(_SIZE[0], 0.6 + 1.9 * len(pairs)), layout="constrained")
    rows = figure.subplots(len(pairs), sharex=True, squeeze=False)[:, 0]
    for axes, pair in zip(rows, pairs, strict=True):
        runs = [*pair.first.at(pair.step), *pair.second.at(pair.step)]
        start = max(grid(run, "steps")[0] for run in runs if run.steps.size)
        steps = np.linspace(start, pair.step, _POINTS)
        gaps = pair.over_training(steps)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.plot(steps, [gap.value for gap in gaps], color=pair.second.style.colour, linewidth=2.2)
        low, high = [gap.low for gap in gaps], [gap.high for gap in gaps]
        axes.fill_between(steps, low, high, color=pair.second.style.colour, alpha=0.18, linewidth=0)
        axes.set_title(f"{pair.second.name} less {pair.first.name}", fontsize=11)
        axes.set_ylabel("points")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    rows[-1].set_xlabel("steps")
    return figure


def grid(run: RunResult, x: XAxis) -> Array:
    """Points over a run's training, in steps, frames or hours.

    They begin with the twentieth game, as the mean of fewer says little.
    """
    games = run.hours if x == "hours" else run.steps
    unit = FRAMES_PER_STEP if x == "frames" else 1
    first = games[min(run.window // 5, len(games) - 1)]
    return np.linspace(first, games[-1], _POINTS) * unit


def score(run: RunResult, points: Array, x: XAxis) -> Array:
    """A run's score at points of an axis."""
    if x == "hours":
        return run.score_at(points, over_hours=True)
    # Rounding must not put the last point before the last game.
    return run.score_at(points / (FRAMES_PER_STEP if x == "frames" else 1) + 1e-6)


def _peer_lines(axes: Axes, comparison: Comparison) -> None:
    """Published scores within what is drawn; those far above short runs would flatten them."""
    low, high = axes.get_ylim()
    peers = peers_of(comparison.algorithm, comparison.game)
    label: str | None = "published, after 10M steps"
    for peer in peers:
        if peer.protocol == comparison.protocol and low < peer.score < high * 1.05:
            axes.axhline(peer.score, color=INK, linewidth=0.8, alpha=0.35, label=label, zorder=1)
            label = None


def final_scores(comparison: Comparison) -> Figure:
    """Every seed's final score a mark, and the mean with its interval."""
    figure, axes = _axes(f"{comparison.algorithm.upper()}, {comparison.game}: final scores")
    figure.set_figheight(1.3 + 0.5 * len(comparison.arms))
    for place, arm in enumerate(comparison.arms):
        scores = arm.scores("training", arm.step)
        _row(axes, place, scores, arm.style)
    _row_names(axes, [arm.name for arm in comparison.arms])
    axes.set_xlabel("score, mean of the last 100 training games")
    return figure


def _row(axes: Axes, place: float, scores: Array, style: Style) -> None:
    estimate = mean_interval(scores)
    axes.plot(
        scores,
        np.full(len(scores), place),
        style.marker,
        color=style.colour,
        markersize=6,
        alpha=0.6,
        markeredgewidth=0,
    )
    if not np.isnan(estimate.low):
        axes.plot([estimate.low, estimate.high], [place] * 2, color=style.colour, linewidth=2.2)
    axes.plot(
        [estimate.value], [place], "|", color=style.colour, markersize=16, markeredgewidth=2.5
    )


def _row_names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def profiles(summary: OverGames) -> Figure:
    """How many of the runs score above each threshold, with a band."""
    figure, axes = _axes(f"{summary.algorithm.upper()}: performance profile")
    scores = np.concatenate([arm.matrix.ravel() for arm in summary.arms])
    # A single game can be far above a human's score; the profile is about all of them.
    thresholds = np.linspace(min(0.0, scores.min()), np.clip(scores.max(), 1, _TOP), 101)
    for arm in summary.arms:
        values, low, high = arm.profile(thresholds)
        axes.plot(
            thresholds,
            values,
            label=arm.name,
            color=arm.style.colour,
            linestyle=arm.style.dash,
            linewidth=2.2,
        )
        axes.fill_between(thresholds, low, high, color=arm.style.colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("human-normalised score")
    axes.set_ylabel("share of runs above it")
    axes.set_ylim(0, 1.02)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def game_bars(summary: OverGames) -> Figure:
    """A bar per game and arm: the mean human-normalised score; every seed a mark."""
    figure, axes = _axes(f"{summary.algorithm.upper()}: games")
    thickness = 0.8 / len(summary.arms)
    figure.set_figheight(1.4 + len(summary.games) * max(0.45, 0.22 * len(summary.arms)))
    for index, arm in enumerate(summary.arms):
        places = np.arange(len(summary.games)) + (index + 0.5) * thickness - 0.4
        means = [float(arm.scores[game].mean()) for game in summary.games]
        axes.barh(
            places, means, 0.9 * thickness, color=arm.style.colour, alpha=0.75, label=arm.name
        )
        for place, game in zip(places, summary.games, strict=True):
            scores = arm.scores[game]
            axes.plot(scores, np.full(len(scores), place), ".", color=INK, markersize=4)
    _row_names(axes, summary.games)
    axes.axvline(1, color=INK, linewidth=0.8, alpha=0.5)
    if axes.get_xlim()[1] > _TOP:
        axes.set_xscale("symlog", linthresh=1)
        axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("human-normalised score (0: random, 1: human)")
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def _axes(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


def svg(figure: Figure) -> str:
    """The figure as text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()


def inline_svg(text: str, name: str, description: str) -> str:
    """An SVG for the inside of a page: in the page's ink, with names of its own.

    Args:
        text: As `svg` returns it.
        name: Stands before every id, as ids of a page must differ.
        description: What one sees, for those who do not.
    """
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
