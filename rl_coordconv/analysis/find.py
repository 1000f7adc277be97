"""Finds every run below some folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rl_coordconv.analysis.cache import read_cached
from rl_coordconv.analysis.foreign import ForeignFiles, find_files, read_foreign
from rl_coordconv.analysis.results import BrokenRun, NotARun, RunResult, read_run
from rl_coordconv.config import UserError
from rl_coordconv.run import Run

# Folders that say nothing about whose runs lie in them.
_GENERIC = re.compile(r"^(logs?|runs?|tb|tensorboard.*|monitors?|results?|sb3|\.*)$", re.IGNORECASE)
_NO_RUNS_INSIDE = {"checkpoints", "figures", ".git"}


@dataclass(frozen=True)
class Found:
    """Runs, and the folders that hold one which cannot be used, with the reason."""

    runs: tuple[RunResult, ...]
    left_out: tuple[tuple[Path, str], ...]


def find_runs(roots: Sequence[Path]) -> Found:
    """Read every run below some folders, by whatever program; a run found twice counts once.

    Raises:
        UserError: A folder does not exist, or there is no run that can be used.
    """
    runs: dict[Path, RunResult] = {}
    left_out: dict[Path, str] = {}
    for root in roots:
        if not root.is_dir():
            raise UserError(f"There is no folder {root}.")
        for folder, read in _readers(root):
            try:
                runs.setdefault(folder.resolve(), read())
            except BrokenRun as error:
                left_out[folder] = str(error)
            except OSError as error:
                left_out[folder] = f"it cannot be read: {error.strerror}"
            except NotARun:
                continue
    kept = _without_copies(list(runs.values()), left_out)
    if not kept:
        reasons = [f"{folder}: {reason}" for folder, reason in left_out.items()]
        names = ", ".join(map(str, roots))
        raise UserError("; ".join([f"There are no runs to compare in {names}", *reasons]) + ".")
    return Found(tuple(kept), tuple(left_out.items()))


def _readers(root: Path) -> Iterator[tuple[Path, partial[RunResult]]]:
    """Every folder of a run below a root, with what reads it."""
    logs: dict[Path, ForeignFiles] = {}
    for name, folders, names in os.walk(root):
        folder = Path(name)
        folders[:] = sorted(set(folders) - _NO_RUNS_INSIDE)
        foreign = any(name.endswith("monitor.csv") or name == "evaluations.npz" for name in names)
        if "config.yaml" in names and not foreign:
            run = Run(folder)
            own = (run.config, run.episodes, run.evaluations)
            yield folder, partial(read_cached, folder, own, "", partial(read_run, folder))
            folders.clear()
        elif foreign or any(name.startswith("events.out.tfevents.") for name in names):
            logs[folder] = find_files(folder)
    arm = _arm(root)
    for files in _joined(logs):
        read = partial(read_foreign, files, arm)
        yield files.folder, partial(read_cached, files.folder, files.all, arm, read)


def _joined(logs: dict[Path, ForeignFiles]) -> list[ForeignFiles]:
    """Join logs to those of the folder above where each kind occurs in one folder only.

    So a run with its TensorBoard events in a folder of their own is one run, and five runs below
    a folder with a stray file stay five.
    """
    joined: list[ForeignFiles] = []
    for folder, files in logs.items():
        if any(folder.is_relative_to(above.folder) for above in joined):
            continue
        below = [part for inner, part in logs.items() if inner.is_relative_to(folder)]
        kinds = [
            kind
            for part in below
            for kind in ("monitors", "evaluations", "events")
            if getattr(part, kind)
        ]
        alone = len(kinds) == len(set(kinds))
        joined.append(find_files(folder, nested=True) if alone else files)
    return joined


def _arm(root: Path) -> str:
    """What to call the runs of another program: their folder's name where it tells something."""
    name = root.resolve().name
    return "sb3" if _GENERIC.match(name) else name


def _without_copies(runs: list[RunResult], left_out: dict[Path, str]) -> list[RunResult]:
    """Leave out runs that are equal game by game: a copy is no second seed."""
    kept: list[RunResult] = []
    taken: dict[tuple[str, ...], RunResult] = {}
    for run in runs:
        key = (run.algorithm, run.game, run.protocol, run.arm, run.seed)
        other = taken.get(key)
        if other is None:
            taken[key] = run
        elif _equal_start(run, other):
            left_out[run.folder] = f"it is a copy of {other.folder}"
            continue
        elif not run.is_foreign:
            note = f"it has the same seed as {other.folder}, but other games; both count"
            run = replace(run, notes=(*run.notes, note))
        kept.append(run)
    return kept


def _equal_start(a: RunResult, b: RunResult) -> bool:
    games = min(len(a.steps), len(b.steps), 100)
    return games > 0 and all(
        np.array_equal(x[:games], y[:games])
        for x, y in ((a.steps, b.steps), (a.returns, b.returns))
    )
