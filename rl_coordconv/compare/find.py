"""Finds every run below some folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rl_coordconv.compare.cache import read_cached
from rl_coordconv.compare.results import BrokenRun, NotARun, RunResult, packed, read_run
from rl_coordconv.compare.sb3_logs import ForeignFiles, find_files, is_known_word, read_foreign
from rl_coordconv.compare.variants import OWN_ARMS
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run

# Folders that say nothing about whose runs lie in them.
_GENERIC = re.compile(r"^(logs?|runs?|tb|tensorboard.*|monitors?|results?|sb3|\.*)$", re.IGNORECASE)
# Beside a config.yaml, which other programs write too.
_OURS = {"command.txt", "episodes.csv", "episodes.csv.gz", "evaluations.csv"}
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
    logs: list[Path] = []
    for name, folders, names in os.walk(root):
        folder = Path(name)
        folders[:] = sorted(set(folders) - _NO_RUNS_INSIDE)
        foreign = any(name.endswith("monitor.csv") or name == "evaluations.npz" for name in names)
        if "config.yaml" in names and _OURS.intersection(names) and not foreign:
            run = Run(folder)
            own = (run.config, run.episodes, packed(run.episodes), run.evaluations)
            yield folder, partial(read_cached, folder, own, "", partial(read_run, folder))
            folders.clear()
        elif foreign or any(name.startswith("events.out.tfevents.") for name in names):
            logs.append(folder)
    arm = _arm(root)
    for files in _joined(logs, root):
        read = partial(read_foreign, files, arm)
        yield files.folder, partial(read_cached, files.folder, files.all, arm, read)


def _joined(folders: Sequence[Path], root: Path) -> Iterator[ForeignFiles]:
    """The logs of each run, where those of one run may lie in several folders.

    A folder is one run if no kind of log occurs in two folders below it: monitors here and
    TensorBoard's events there. Otherwise every folder in it is looked at for itself.
    """
    if not folders:
        return
    kinds = [kind for folder in folders for kind in find_files(folder).kinds]
    if len(folders) == 1 or len(kinds) == len(set(kinds)):
        # Where they have their names in common: above, there may be more than this run.
        common = Path(os.path.commonpath(folders))
        yield find_files(common, nested=True) if len(folders) > 1 else find_files(common)
        return
    below: dict[Path, list[Path]] = {}
    for folder in folders:
        inner = folder.relative_to(root).parts[:1]
        below.setdefault(root.joinpath(*inner), []).append(folder)
    for part, members in below.items():
        yield from ([find_files(part)] if part == root else _joined(members, part))


def _arm(root: Path) -> str:
    """What to call the runs of another program: their folder's name where it tells something.

    A name of ours would make them seeds of our arm.
    """
    name = root.resolve().name
    return "sb3" if _GENERIC.match(name) or is_known_word(name) or name in OWN_ARMS else name


def _without_copies(runs: list[RunResult], left_out: dict[Path, str]) -> list[RunResult]:
    """Leave out what is there twice: it is no second seed."""
    kept: list[RunResult] = []
    taken: dict[tuple[str, ...], RunResult] = {}
    with_games = {_arm_key(run): run for run in runs if run.is_foreign and run.window > 1}
    for run in sorted(runs, key=lambda run: -run.last_step):  # of copies the longest stays
        same_arm = with_games.get(_arm_key(run))
        if same_arm and run.window == 1:
            left_out[run.folder] = (
                f"its games are not known, and it may be the log of a run like {same_arm.folder}"
            )
            continue
        other = taken.setdefault((*_arm_key(run), run.protocol, run.seed), run)
        if other is not run and _equal_start(run, other):
            left_out[run.folder] = f"it is a copy of {other.folder}"
            continue
        if other is not run and not run.is_foreign:
            note = f"it has the same seed as {other.folder}, but other games; both count"
            run = replace(run, notes=(*run.notes, note))
        kept.append(run)
    return kept


def _arm_key(run: RunResult) -> tuple[str, ...]:
    return run.algorithm, run.game, run.arm


def _equal_start(a: RunResult, b: RunResult) -> bool:
    games = min(len(a.steps), len(b.steps), 100)
    return games > 0 and all(
        np.array_equal(x[:games], y[:games])
        for x, y in ((a.steps, b.steps), (a.returns, b.returns))
    )
