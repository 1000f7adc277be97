"""Finds every run below some folders."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from rl_coordconv.compare.results import BrokenRun, NotARun, RunResult, read_run
from rl_coordconv.compare.sb3_logs import SB3Logs, find_logs, is_known_word, read_logs
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.kept import is_kept, read_kept, read_stored_run
from rl_coordconv.runs.results import EXTRACTOR_STYLES

# Names of folders that do not name whose runs are inside.
_GENERIC = re.compile(r"^(logs?|runs?|tb|tensorboard.*|monitors?|results?|sb3|\.*)$", re.IGNORECASE)
# Beside a config.yaml, which other programs write too.
_OWN_FILES = {"command.txt", "episodes.csv", "evaluations.csv"}
_NO_RUNS_INSIDE = {"checkpoints", "figures", ".git"}


@dataclass(frozen=True)
class Found:
    """Runs, and the folders of runs that cannot be used, with the reason."""

    runs: tuple[RunResult, ...]
    left_out: tuple[tuple[Path, str], ...]


def find_runs(roots: Sequence[Path]) -> Found:
    """Read every run below some folders: run folders, kept studies and SB3 logs.

    A run found twice counts once.

    Raises:
        UserError: A folder does not exist, a kept study is damaged, or no run can be used.
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
    used = _without_copies(list(runs.values()), left_out)
    if not used:
        reasons = [f"{folder}: {reason}" for folder, reason in left_out.items()]
        names = ", ".join(map(str, roots))
        raise UserError("; ".join([f"There are no runs to compare in {names}", *reasons]) + ".")
    return Found(tuple(used), tuple(left_out.items()))


def _readers(root: Path) -> Iterator[tuple[Path, Callable[[], RunResult]]]:
    """Yield every folder of a run below a root, with the function that reads it."""
    logs: list[Path] = []
    for path, folders, names in os.walk(root):
        folder = Path(path)
        folders[:] = sorted(set(folders) - _NO_RUNS_INSIDE)
        of_sb3 = any(name.endswith("monitor.csv") or name == "evaluations.npz" for name in names)
        if is_kept(folder):
            for run in read_kept(folder):
                yield run.folder, partial(read_run, run)
            folders.clear()
        elif "config.yaml" in names and _OWN_FILES.intersection(names) and not of_sb3:
            yield folder, partial(_read_folder, folder)
            folders.clear()
        elif of_sb3 or any(name.startswith("events.out.tfevents.") for name in names):
            logs.append(folder)
    for run_logs in _joined(logs, root):
        yield run_logs.folder, partial(read_logs, run_logs, _variant(root))


def _read_folder(folder: Path) -> RunResult:
    try:
        run = read_stored_run(folder, ("episodes", "evaluations"))
    except UserError as error:
        reason = str(error).removesuffix(".").replace(f"{folder}{os.sep}", "")
        raise BrokenRun(reason) from None
    return read_run(run)


def _joined(folders: Sequence[Path], root: Path) -> Iterator[SB3Logs]:
    """Yield the logs of each run; those of one run may be in several folders.

    A folder is one run if no kind of log occurs in two folders below it: monitors here and
    TensorBoard's events there. Otherwise each folder in it is examined separately.
    """
    if not folders:
        return
    kinds = [kind for folder in folders for kind in find_logs(folder).kinds]
    if len(folders) == 1 or len(kinds) == len(set(kinds)):
        # Their common folder, not the root: there may be more than this run above.
        yield find_logs(Path(os.path.commonpath(folders)), nested=len(folders) > 1)
        return
    below: dict[Path, list[Path]] = {}
    for folder in folders:
        inner = folder.relative_to(root).parts[:1]
        below.setdefault(root.joinpath(*inner), []).append(folder)
    for part, members in below.items():
        yield from ([find_logs(part)] if part == root else _joined(members, part))


def _variant(root: Path) -> str:
    """Return the name of a folder of SB3 logs as that of a variant, if it is a telling one.

    The name of an extractor would make its runs seeds of ours.
    """
    name = root.resolve().name
    is_taken = _GENERIC.match(name) or is_known_word(name) or name in EXTRACTOR_STYLES
    return "sb3" if is_taken else name


def _without_copies(runs: Sequence[RunResult], left_out: dict[Path, str]) -> list[RunResult]:
    """Return the runs without copies, which are no second seed."""
    used: list[RunResult] = []
    taken: dict[tuple[str, ...], RunResult] = {}
    with_games = {_key(run): run for run in runs if run.from_sb3 and run.window > 1}
    for run in sorted(runs, key=lambda run: -run.last_step):  # the longest of the copies is used
        alike = with_games.get(_key(run))
        if alike and run.window == 1:
            left_out[run.folder] = (
                f"its games are not known, and it may be the log of a run like {alike.folder}"
            )
            continue
        other = taken.setdefault((*_key(run), run.protocol, run.seed), run)
        if other is not run and _equal_start(run, other):
            left_out[run.folder] = f"it is a copy of {other.folder}"
            continue
        if other is not run and not run.from_sb3:
            note = f"it has the same seed as {other.folder}, but other games; both count"
            run = replace(run, notes=(*run.notes, note))
        used.append(run)
    return used


def _key(run: RunResult) -> tuple[str, ...]:
    return run.algorithm, run.game, run.variant


def _equal_start(a: RunResult, b: RunResult) -> bool:
    games = min(len(a.steps), len(b.steps), 100)
    same_steps = np.array_equal(a.steps[:games], b.steps[:games])
    return games > 0 and same_steps and np.array_equal(a.returns[:games], b.returns[:games])
