"""Determine which monitors belong to the same run, and which to its evaluations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_coordconv.compare.results import Array, has_means, is_part
from rl_coordconv.compare.sb3.logs import SB3Logs, common_folder, join
from rl_coordconv.compare.sb3.names import algorithm_in, find_seed, shows_variant, variant_words

_FEW = 10  # consecutive games that identify a run
_DIFFERENT = 5  # distinct scores that identify a run


def games_once(logs: Sequence[SB3Logs], left_out: dict[Path, str]) -> list[SB3Logs]:
    """Join the monitors in each folder, and leave out those that repeat games of another file."""
    logs = _evaluations_apart(logs)
    monitors = [log for log in logs if log.kinds == ["games"]]
    by_folder: dict[Path, dict[tuple[str, ...], list[SB3Logs]]] = {}
    seen: dict[tuple[float, ...], SB3Logs] = {}  # the log of each game and of each `_FEW` games
    for log in sorted(monitors, key=lambda log: (-len(log.games), not shows_variant(log.folder))):
        games = [tuple(game) for game in log.games[:, 2:]]
        rows = log.games[:, [1, 3]]
        in_a_row = [tuple(rows[i : i + _FEW].ravel()) for i in range(len(rows) - _FEW + 1)]
        repeated = [seen[game] for game in games if game in seen]
        other = repeated[0] if len(repeated) >= 0.9 * len(games) else None
        # In a copy with appended sessions, times differ, but the sequence of games is the same.
        alike = seen.get(in_a_row[0]) if in_a_row else None
        if alike and is_part(rows, alike.games[:, [1, 3]]):
            other = alike
        if other:
            left_out[log.files[0]] = f"it repeats games of {other.files[0]}"
            continue
        is_new = [game not in seen or seen[game].folder != log.folder for game in games]
        by_folder.setdefault(_folder_of(log), {}).setdefault(_named(log), []).append(
            replace(log, games=log.games[is_new])
        )
        seen |= dict.fromkeys([*games, *in_a_row], log)
    others = [log for log in logs if log.kinds != ["games"]]
    for folder, named in by_folder.items():
        for files in named.values():
            first, *more = sorted(files, key=lambda log: log.files)
            own = folder if len(named) == 1 else folder / _stem(first)
            others.append(join([first, *more], own))
    return others


def _folder_of(log: SB3Logs) -> Path:
    """Return a log's folder, or its parent if it is that of one environment, such as ``env_0``."""
    is_of_one = re.fullmatch(r"(env|rank|worker)s?[-_]?\d+", log.folder.name)
    return log.folder.parent if is_of_one else log.folder


def _stem(log: SB3Logs) -> str:
    return log.files[0].name.removesuffix("monitor.csv").strip(".")


def _named(log: SB3Logs) -> tuple[str, ...]:
    """Return a key of a monitor's run: its name without numbers, seed, algorithm and game."""
    stem = _stem(log)
    words = re.sub(r"(?<![\d.])\d+(?![\d.])", "", variant_words([stem]))
    return words, find_seed([stem]), algorithm_in(stem), log.env_id


def joined_by_means(logs: Sequence[SB3Logs]) -> list[SB3Logs]:
    """Join monitors in several folders if TensorBoard's points are the means of all their games.

    They belong to several environments, or to sessions that continue each other.
    """
    games = [log for log in logs if log.kinds == ["games"]]
    for points in (log.scores for log in logs if log.kinds == ["points"] and len(log.scores)):
        during = [log for log in games if log.games[:, 2].max() >= points[0, 1] > 0]
        during = [log for log in during if log.games[:, 2].min() <= points[-1, 1]]
        if len(during) < 2 or any(has_means(log.games[:, 2:], points[:, 1:]) for log in during):
            continue
        folders = {folder for log in during for folder in log.folder.parents}
        for folder in sorted(folders, key=lambda folder: len(folder.parts)):
            own = [log for log in during if log.folder.is_relative_to(folder)]
            if len(own) < 2:
                continue
            joined = join(sorted(own, key=lambda log: log.games[0, 2]), common_folder(own))
            if has_means(joined.games[:, 2:], points[:, 1:]):
                note = "its events have the mean scores of the games in all of these monitors"
                joined = replace(joined, notes=(*joined.notes, note))
                games = [joined, *(log for log in games if log not in own)]
                break
    return [*games, *(log for log in logs if log.kinds != ["games"])]


def without_rounds(logs: Sequence[SB3Logs], left_out: dict[Path, str]) -> list[SB3Logs]:
    """Leave out event logs if several have the means of one monitor (repeated ``learn()``)."""
    games = {log: list[SB3Logs]() for log in logs if log.kinds == ["games"]}
    for log in (log for log in logs if log.kinds == ["points"] and len(log.scores)):
        whose = (own for own in games if has_means(own.games[:, 2:], log.scores[:, 1:]))
        if own := next(whose, None):
            games[own].append(log)
    rounds = {log: own for own, found in games.items() if len(found) > 1 for log in found}
    tags = {own: frozenset[str]().union(*(log.tags for log in rounds)) for own in rounds.values()}
    left_out |= {
        log.folder: f"its scores are means of the games in {own.folder}"
        for log, own in rounds.items()
    }
    return [replace(log, tags=tags.get(log, log.tags)) for log in logs if log not in rounds]


def _evaluations_apart(logs: Sequence[SB3Logs]) -> list[SB3Logs]:
    """Mark monitors whose scores are those of an ``evaluations.npz`` as evaluations."""
    evaluated = [log.evaluations[:, 1] for log in logs if len(log.evaluations)]
    return [
        replace(log, games=np.empty((0, 4)), watched=log.games[:, 2:])
        if any(_begin_alike(log.games[:, 3], scores) for scores in evaluated)
        else log
        for log in logs
    ]


def _begin_alike(a: Array, b: Array) -> bool:
    n = min(len(a), len(b))
    return len(np.unique(a[:n])) >= _DIFFERENT and np.array_equal(a[:n], b[:n])
