"""Find the runs in and below some folders; each counts once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rl_coordconv.compare.results import (
    Array,
    BrokenRun,
    NotARun,
    RunResult,
    has_means,
    is_part,
    read_run,
    shared,
)
from rl_coordconv.compare.sb3.names import is_numbered_run, root_labels, shows_variant
from rl_coordconv.compare.sb3.trainings import read_trainings
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import require_folder
from rl_coordconv.runs.stored import is_stored_study, read_stored_run, read_stored_study

# Identify a run folder of this package, as other programs write a config.yaml too.
_OWN_FILES = {"command.txt", "episodes.csv", "evaluations.csv"}
_NO_RUNS_INSIDE = {"checkpoints", "figures", ".git"}
# How many must agree for two logs to count as one run: the first games, distinct scores at equal
# steps, and means of games.
_START, _DIFFERENT, _ENOUGH_MEANS = 100, 5, 5


@dataclass(frozen=True)
class Found:
    """The runs, and the folders that are left out with the reason for each."""

    runs: tuple[RunResult, ...]
    left_out: tuple[tuple[Path, str], ...]


def find_runs(roots: Sequence[Path]) -> Found:
    """Read all runs in and below some folders: run folders, stored studies and SB3 logs.

    Each run counts once, even if its logs were copied, split or renamed.

    Raises:
        UserError: A folder does not exist, a stored study is damaged, or no run can be used.
    """
    runs: dict[Path, RunResult] = {}
    left_out: dict[Path, str] = {}
    logs: dict[Path, list[Path]] = {}
    for root in roots:
        require_folder(root)
        for folder, read in _readers(root, logs):
            try:
                runs.setdefault(folder.resolve(), read())
            except BrokenRun as error:
                left_out[folder] = str(error)
            except OSError as error:
                left_out[folder] = f"it cannot be read: {error.strerror}"
            except NotARun:
                continue
    logs = _together(logs)
    of_sb3 = [
        run
        for root, label in root_labels(list(logs)).items()
        for run in read_trainings(logs[root], root, label, left_out)
    ]
    used = _without_copies([*runs.values(), *of_sb3], left_out)
    if not used:
        reasons = [f"{folder}: {reason}" for folder, reason in left_out.items()]
        names = ", ".join(map(str, roots))
        raise UserError("; ".join([f"There are no runs to compare in {names}", *reasons]) + ".")
    return Found(tuple(used), tuple(left_out.items()))


def _together(logs: dict[Path, list[Path]]) -> dict[Path, list[Path]]:
    """Replace roots such as ``logs/PPO_1`` and ``logs/PPO_2`` by the folder that contains them."""
    numbered = [root for root in logs if is_numbered_run(root.name)]
    merged: dict[Path, list[Path]] = {}
    for root, folders in logs.items():
        several = sum(other.parent == root.parent for other in numbered) > 1
        top = root.parent if root in numbered and several else root
        merged.setdefault(top, []).extend(folders)
    return merged


def _readers(
    root: Path, logs: dict[Path, list[Path]]
) -> Iterator[tuple[Path, Callable[[], RunResult]]]:
    """Yield the folder of each run of this package below a root, and a function that reads it.

    Folders of SB3 logs are added to ``logs[root]``, unless they are in ``logs`` already.
    """
    seen = {folder.resolve() for folders in logs.values() for folder in folders}
    for path, folders, names in os.walk(root):
        folder = Path(path)
        folders[:] = sorted(set(folders) - _NO_RUNS_INSIDE)
        of_sb3 = any(name.endswith("monitor.csv") or name == "evaluations.npz" for name in names)
        if is_stored_study(folder):
            for run in read_stored_study(folder):
                yield run.folder, partial(read_run, run)
            folders.clear()
        elif "config.yaml" in names and _OWN_FILES.intersection(names) and not of_sb3:
            yield folder, partial(_read_folder, folder)
            folders.clear()
        elif folder.resolve() not in seen and (
            of_sb3 or any(name.startswith("events.out.tfevents.") for name in names)
        ):
            logs.setdefault(root, []).append(folder)


def _read_folder(folder: Path) -> RunResult:
    try:
        run = read_stored_run(folder, ("episodes", "evaluations"))
    except UserError as error:
        reason = str(error).removesuffix(".").replace(f"{folder}{os.sep}", "")
        raise BrokenRun(reason) from None
    return read_run(run)


def _without_copies(runs: Sequence[RunResult], left_out: dict[Path, str]) -> list[RunResult]:
    """Drop copies of runs, so that they do not count as seeds."""
    used: list[RunResult] = []
    # Prefer runs whose games are known, then longer ones.
    for run in sorted(runs, key=lambda run: (run.window == 1, -run.last_step)):
        reasons = {i: _same_training(run, other) for i, other in enumerate(used)}
        i = next((i for i, reason in reasons.items() if reason), None)
        if i is not None:
            left_out[run.folder] = reasons[i]
            used[i] = _completed(used[i], run)
            continue
        possible = next((other for other in used if _may_be_its_log(run, other)), None)
        if possible:
            left_out[run.folder] = (
                f"it has no games and may be a log of {possible.folder} or of another seed of it"
            )
            continue
        alike = [o for o in used if _key(o) == _key(run) and o.seed == run.seed]
        if alike and not run.from_sb3:
            note = f"it has the same seed as {alike[0].folder}, but different games; both are used"
            run = replace(run, notes=(*run.notes, note))
        used.append(run)
    return used


def _completed(run: RunResult, copy: RunResult) -> RunResult:
    """Add the algorithm and variant of a run that are known only from another log of it."""
    if run.algorithm == "unknown":
        run = replace(run, algorithm=copy.algorithm)
    if shows_variant(run.folder) or not shows_variant(copy.folder) or "extractor" in run.settings:
        return run
    seed = copy.seed if run.seed == run.folder.name else run.seed
    note = f"its variant is named after its copy {copy.folder}"
    return replace(run, variant=copy.variant, seed=seed, notes=(*run.notes, note))


def _key(run: RunResult) -> tuple[str, ...]:
    settings = repr(sorted(run.settings.items()))
    return run.algorithm, run.game, run.variant, run.protocol, settings


def _same_training(run: RunResult, other: RunResult) -> str:
    """Return why two runs are the same run; empty if they are not."""
    if not (run.from_sb3 or other.from_sb3) and _key(run) != _key(other):
        return ""  # their settings differ
    if run.window == other.window:
        games = min(len(run.steps), len(other.steps), _START)
        same_seed = _key(run) == _key(other) and run.seed == other.seed
        replayed = same_seed and np.array_equal(_games(run)[:games], _games(other)[:games])
        is_copy = replayed or shared(_rows(run), _rows(other))
        if run.from_sb3 and run.window > 1:  # times differ if sessions were appended
            is_copy = is_copy or is_part(_lengths(run), _lengths(other))
        if run.window == 1 and _key(run)[:3] == _key(other)[:3]:  # a rerun of the same seed
            is_copy = is_copy or _same_points(run, other)
        return f"it is a copy of {other.folder}" if is_copy else ""
    if run.from_sb3 and _repeats_means(run, other):
        return f"its scores are means of the games in {other.folder}"
    if run.from_sb3 and _repeats_evaluations(run, other):
        return f"its evaluations are the same as in {other.folder}"
    return ""


def _may_be_its_log(run: RunResult, other: RunResult) -> bool:
    """Return whether SB3 logs without games may belong to a run whose games are known."""
    is_less = run.window < other.window and other.from_sb3
    return is_less and _key(run)[:3] == _key(other)[:3]


def _same_points(run: RunResult, other: RunResult) -> bool:
    """Return whether the points of one run are part of the other's, ignoring their times."""
    return len(np.unique(run.returns)) >= _DIFFERENT and is_part(_games(run), _games(other))


def _repeats_evaluations(run: RunResult, other: RunResult) -> bool:
    a, b = (np.column_stack([o.evaluation_steps, o.evaluation_returns]) for o in (run, other))
    alike = bool(run.settings) and (run.seed, run.settings) == (other.seed, other.settings)
    if alike and len(a) and np.array_equal(a, b):
        return True
    return len(np.unique(a[:, 1])) >= _DIFFERENT and is_part(a, b)


def _games(run: RunResult) -> Array:
    return np.column_stack([run.steps, run.returns])


def _lengths(run: RunResult) -> Array:
    return np.column_stack([np.diff(run.steps, prepend=0), run.returns])


def _rows(run: RunResult) -> Array:
    """Return the end of each game, as Unix time or else as step, and its score ``[games, 2]``."""
    return np.column_stack([run.times if run.times.any() else run.steps, run.returns])


def _repeats_means(run: RunResult, games: RunResult) -> bool:
    """Return whether a run's scores are running means over 100 games of another run."""
    tables = [np.column_stack([one.times, one.returns]) for one in (games, run)]
    return has_means(*tables) or _repeats_means_at_steps(run, games)


def _repeats_means_at_steps(run: RunResult, games: RunResult) -> bool:
    """Compare like `_repeats_means`, but match by step (within 5%) instead of by time."""
    sums = np.concatenate([[0.0], np.cumsum(games.returns)])
    last = np.arange(1, len(sums))
    means = (sums[last] - sums[np.maximum(last - games.window, 0)]) / np.minimum(last, games.window)
    first = np.searchsorted(games.steps, 0.95 * run.steps)
    after = np.searchsorted(games.steps, 1.05 * run.steps)
    same = [
        np.isclose(means[i:j], value, rtol=1e-5).any()
        for i, j, value in zip(first, after, run.returns, strict=True)
    ]
    return len(same) >= _ENOUGH_MEANS and np.mean(same) >= 0.8
