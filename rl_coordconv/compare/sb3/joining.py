"""Join SB3 logs of the same run.

The logs of a run may be in several files and folders. They are joined if one continues the
other, if their data agree, or if they are different kinds of logs in one folder whose names do not
contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_coordconv.compare.events import in_order
from rl_coordconv.compare.results import Array, shared
from rl_coordconv.compare.sb3.files import names_evaluation
from rl_coordconv.compare.sb3.logs import (
    EVALUATION,
    SCORE,
    SB3Logs,
    common_folder,
    join,
    means_of,
    start,
)
from rl_coordconv.compare.sb3.monitors import games_once, joined_by_means, without_rounds
from rl_coordconv.compare.sb3.names import (
    find_algorithm,
    find_game,
    find_seed,
    is_kind_of_log,
    is_numbered_sibling,
    shows_variant,
)

_FEW = 3  # distinct mean scores that identify evaluations
_FIRST = 10  # points from which to estimate the logging interval


def join_trainings(logs: Sequence[SB3Logs], root: Path, left_out: dict[Path, str]) -> list[SB3Logs]:
    """Join the logs of each run.

    Args:
        logs: The logs of each file.
        root: A folder that contains them, directly or in subfolders.
        left_out: The reason for each file that is left out; copies are added.
    """
    once = games_once(logs, left_out)
    joined = joined_by_means(_continued(once))
    return _group(without_rounds(joined, left_out), root)


def _continued(logs: Sequence[SB3Logs]) -> list[SB3Logs]:
    """Join the event files of each run.

    They belong together if their points agree, if they are in one folder (as in TensorBoard), or
    if one starts after the other ended, at a step too high for a new run.
    """
    trainings: list[SB3Logs] = []
    # Name the run after its earliest log; among copies, prefer one whose name shows the variant.
    for log in sorted(logs, key=lambda log: (start(log.points), not shows_variant(log.folder))):
        place, how = _earlier(log, trainings) if log.kinds == ["points"] else (None, "")
        if place is None:
            trainings.append(log)
            continue
        other = trainings[place]
        note = f"the events in {log.folder} {how} those in {other.folder}"
        notes = () if log.folder == other.folder else (note,)
        trainings[place] = join([other, replace(log, notes=(*log.notes, *notes))])
    return trainings


def _earlier(log: SB3Logs, trainings: Sequence[SB3Logs]) -> tuple[int | None, str]:
    """Return the index of the run that a log belongs to, and why; None if there is none."""
    first = log.logged[0, 0]
    # First try those whose last step is nearest to the log's first step.
    places = [i for i, other in enumerate(trainings) if other.kinds == ["points"]]
    places.sort(key=lambda i: abs(first - trainings[i].logged[-1, 0]))
    for belongs, how in (_agrees, "repeat"), (_is_beside, "continue"), (_continues, "continue"):
        for place in places:
            if belongs(log, trainings[place]):
                return place, how
    return None, ""


def _agrees(log: SB3Logs, other: SB3Logs) -> bool:
    tables = [(log.points[tag], other.points[tag]) for tag in (SCORE, EVALUATION)]
    if any(_repeats(a, b) for a, b in tables):
        return True
    interleaved = any(_interleaved(a, b) for a, b in tables)
    return interleaved and not _contradict(log, other, common_folder([log, other]))


def _repeats(a: Array, b: Array) -> bool:
    """Return whether points ``[points, 3]`` agree at most of the steps that both logs cover."""
    if not len(a) or not len(b) or not _overlap(a, b):
        return False  # they do not overlap in time
    low, high = max(a[:, 0].min(), b[:, 0].min()), min(a[:, 0].max(), b[:, 0].max())
    x, y = ({*map(tuple, log[(log[:, 0] >= low) & (log[:, 0] <= high)])} for log in (a, b))
    n = min(len(x), len(y))
    return shared(a, b) or (n > 0 and len(x & y) >= 0.9 * n)


def _overlap(a: Array, b: Array) -> bool:
    """Return whether the times of points ``[points, 3]``, in any order, overlap."""
    times, others = a[:, 1], b[:, 1]
    return bool(times.max() >= others.min() and others.max() >= times.min())


def _interleaved(a: Array, b: Array) -> bool:
    """Return whether overlapping logs ``[points, 3]`` have ascending steps when merged by time."""
    if min(len(a), len(b)) < 3 or not _overlap(a, b):
        return False
    both = np.unique(np.concatenate([a, b]), axis=0)
    return len(in_order(both)) == len(both)


def _is_beside(log: SB3Logs, other: SB3Logs) -> bool:
    """Return whether a log is in the folder of another and starts after it ended."""
    now, before = log.points[SCORE], other.points[SCORE]
    follows = not len(now) or not len(before) or now[0, 1] >= before[:, 1].max()
    return follows and log.folder in {file.parent for file in other.files}


def _continues(log: SB3Logs, other: SB3Logs) -> bool:
    now, before = log.logged, other.logged
    if not len(now) or not len(before) or now[0, 1] < before[-1, 1]:
        return False
    first, last = now[0, 0], before[-1, 0]
    if _contradict(log, other, common_folder([log, other])):
        return False
    steps = now[:_FIRST, 0] if len(now) > 1 else np.concatenate([[0], before[:, 0]])
    interval = np.diff(steps).max()
    if len(now) == 1:
        return bool(last < first <= last + 2 * interval)
    return bool(first > 2 * interval and before[0, 0] < first)


def _contradict(a: SB3Logs, b: SB3Logs, folder: Path, *, siblings: bool = True) -> bool:
    """Return whether two logs below a folder name different games, algorithms or seeds.

    Args:
        a: One of them.
        b: The other.
        folder: A folder that contains both.
        siblings: Whether folders that differ only in a number may belong to one run.
    """
    names_a, names_b = (list(log.folder.relative_to(folder).parts[::-1]) for log in (a, b))
    facts = [
        (
            find_algorithm(log.zoo.named.get("algo", ""), names, log.tags),
            find_game([log.zoo.named.get("env", ""), log.env_id, *names])[0],
            log.zoo.named.get("seed") or find_seed(names) or "unknown",
        )
        for log, names in ((a, names_a), (b, names_b))
    ]
    if any(x != y and "unknown" not in (x, y) for x, y in zip(*facts, strict=True)):
        return True
    if siblings or not names_a or not names_b:
        return False
    x, y = names_a[-1], names_b[-1]
    is_kind = any(is_kind_of_log(name) or names_evaluation([name]) for name in (x, y))
    return is_numbered_sibling(x, y) or not is_kind


def _group(logs: Sequence[SB3Logs], folder: Path) -> list[SB3Logs]:
    """Join the logs of different kinds in and below a folder, if they can be from one run.

    They can if each kind occurs once and no names contradict. Otherwise, group the logs in each
    subfolder separately.
    """
    kinds = [kind for log in logs for kind in log.kinds]
    evaluations = [log for log in logs if log.kinds == ["evaluations"]]
    if len(evaluations) > 1 and set(kinds) & {"games", "points"}:
        # Several evaluations of one run, such as of the stochastic and of the deterministic policy.
        first, *more = evaluations
        joined = _group([log for log in logs if log not in more], folder)
        if len(joined) == 1 and not any(_contradict(first, log, folder) for log in more):
            notes = (f"{log.files[0]} has more evaluations, which are not used" for log in more)
            return [replace(joined[0], notes=(*joined[0].notes, *notes))]
    pairs = ((a, b) for i, a in enumerate(logs) for b in logs[:i])
    if len(kinds) == len(set(kinds)) and not any(
        _contradict(a, b, folder, siblings=False) for a, b in pairs
    ):
        # Not ``folder``, as it may contain other runs too.
        return [join(logs, common_folder(logs))] if logs else []
    below: dict[Path, list[SB3Logs]] = {}
    for log in logs:
        inner = log.folder.relative_to(folder).parts[:1]
        below.setdefault(folder.joinpath(*inner), []).append(log)
    if len(below) == 1 and folder in below:
        return list(logs)
    found = [log for part, own in below.items() for log in _group(own, part)]
    alone = [log for log in found if log.kinds in (["evaluations"], ["watched"])]
    others = [log for log in found if log not in alone]
    for log in alone:
        others = _attach(log, others)
    return others


def _attach(log: SB3Logs, others: list[SB3Logs]) -> list[SB3Logs]:
    """Add evaluations to the run that has the same ones."""
    inside = [o for o in others if o.folder.is_relative_to(log.folder) and o.kinds != log.kinds]
    differ = len(np.unique(means_of(log.evaluations)[:, 2])) >= _FEW
    for other in [o for o in others if o.kinds != log.kinds] if differ else inside:
        if len(log.evaluations) and (
            shared(log.evaluations, other.evaluations)
            or _repeats_means(log.evaluations, other.evaluated)
        ):
            own = log if not len(other.evaluations) else replace(log, evaluations=np.empty((0, 2)))
            note = f"{log.files[0]} has the same evaluations"
            merged = join([other, replace(own, notes=(*own.notes, note))], other.folder)
            return [merged if o is other else o for o in others]
    problem = "its evaluations match no run in the folders below" if inside else ""
    return [*others, replace(log, problem=problem)]


def _repeats_means(evaluations: Array, points: Array) -> bool:
    """Return whether the means of evaluations equal TensorBoard's points at the common steps."""
    means = means_of(evaluations)
    steps, i, j = np.intersect1d(means[:, 0], points[:, 0], return_indices=True)
    return len(steps) > 0 and np.allclose(means[i, 2], points[j, 2], rtol=1e-4)
