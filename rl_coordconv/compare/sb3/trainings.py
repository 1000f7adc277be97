"""Read the runs of Stable-Baselines3 and rl-zoo3 whose logs are in some folders."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rl_coordconv.compare.events import in_order
from rl_coordconv.compare.results import BrokenRun, RunResult
from rl_coordconv.compare.sb3.joining import join_trainings
from rl_coordconv.compare.sb3.logs import STATES, SB3Logs, as_run, read_folder
from rl_coordconv.compare.sb3.names import find_seed


def read_trainings(
    folders: Sequence[Path], root: Path, label: str, left_out: dict[Path, str]
) -> list[RunResult]:
    """Read the runs whose logs are in some folders.

    Args:
        folders: The folders, in or below the root.
        root: The folder given to the report.
        label: The root's part of the variant's name; see `root_labels`.
        left_out: The reason for each folder that is left out; more are added.
    """
    logs: list[SB3Logs] = []
    for folder in folders:
        try:
            logs += read_folder(folder, root)
        except BrokenRun as error:
            left_out[folder] = str(error)
        except OSError as error:
            left_out[folder] = f"it cannot be read: {error.strerror}"
    runs: dict[RunResult, SB3Logs] = {}
    for training in join_trainings(logs, root, left_out):
        try:
            runs[as_run(training, root, label)] = training
        except BrokenRun as error:
            left_out[training.folder] = str(error)
    return _chained(_with_doubts(runs), left_out)


def _chained(runs: Mapping[RunResult, SB3Logs], left_out: dict[Path, str]) -> list[RunResult]:
    """Join runs that continue another but count from step 0, as with rl-zoo3's ``-i``.

    If several continue one agent, only the longest is used, because they share their start.
    """
    agents = {run: logs.zoo.named.get("trained_agent", "") for run, logs in runs.items()}
    before = {
        run: _trained(agent, run, list(agents)) if agent else _learned(run, runs)
        for run, agent in agents.items()
    }

    def origin(run: RunResult) -> list[RunResult]:
        """Return the chain of runs that this one continues, in order, with itself last."""
        chain = [run]
        while (earlier := before.get(chain[0])) and earlier not in chain:
            chain.insert(0, earlier)
        return chain

    families: dict[str | RunResult, list[list[RunResult]]] = {}
    for run in agents:
        chain = origin(run)
        families.setdefault(agents[chain[0]] or chain[0], []).append(chain)
    used = []
    for chains in families.values():
        trainings = [_joined(chain, agents) for chain in chains]
        best = max(range(len(chains)), key=lambda i: trainings[i].last_step)
        used.append(trainings[best])
        for *_, run in chains:
            if run not in chains[best]:
                left_out[run.folder] = f"it starts like the longer run in {trainings[best].folder}"
    return used


def _trained(agent: str, run: RunResult, runs: Sequence[RunResult]) -> RunResult | None:
    """Return the run that saved an agent's file; None if it is not found."""
    parts = Path(agent.replace("\\", "/")).parts[-2::-1]

    def alike(other: RunResult) -> tuple[int, int]:
        names = other.folder.resolve().parts[::-1]
        same = [a == b for a, b in zip(parts, names, strict=False)]
        length = same.index(False) if False in same else len(same)
        return length, len(os.path.commonpath([run.folder.resolve(), other.folder.resolve()]))

    others = [
        o for o in runs if o is not run and (o.algorithm, o.game) == (run.algorithm, run.game)
    ]
    best = max(others, key=alike, default=None)
    return best if best and alike(best)[0] else None


def _learned(run: RunResult, runs: Mapping[RunResult, SB3Logs]) -> RunResult | None:
    """Return the run whose model was trained further by another ``learn()``; None if unknown."""
    before = _just_before(run, runs)
    if not before:
        return None
    # If the variants differ, require stronger evidence.
    is_alike = (run.variant, run.settings) == (before.variant, before.settings)
    continuity = _continuity(runs[before], runs[run]) or 0
    return before if continuity > (1 if is_alike else 2) else None


def _just_before(run: RunResult, runs: Mapping[RunResult, SB3Logs]) -> RunResult | None:
    """Return the run that the same process logged before; None if folder names have seeds."""
    logs = runs[run]
    if run.window > 1 or not len(logs.logged) or find_seed(run.folder.parts[-3:]):
        return None
    earlier = [
        other
        for other, its in runs.items()
        if other is not run
        and logs.processes & its.processes
        and (other.algorithm, other.game, other.window) == (run.algorithm, run.game, 1)
        and its.logged[-1, 1] <= logs.logged[0, 1]
    ]
    return max(earlier, key=lambda other: float(runs[other].logged[-1, 1]), default=None)


def _continuity(before: SB3Logs, logs: SB3Logs) -> float | None:
    """Return above 1 if the same model was trained further, below 1 for a new one; None if unknown.

    Steps start at 0 in both cases. The first entropy of a new model is that with which the run
    before started; the first entropy of the same model is that with which it ended.
    """
    for tag in STATES:
        old, new = (in_order(one.points[tag])[:, 2] for one in (before, logs))
        if len(old) > 1 and len(new):
            return float(abs(new[0] - old[0]) / max(abs(new[0] - old[-1]), 1e-9))
    return None


def _with_doubts(runs: Mapping[RunResult, SB3Logs]) -> dict[RunResult, SB3Logs]:
    """Add a note to runs that may be another seed, or another ``learn()`` of the same model."""
    noted = {}
    for run, logs in runs.items():
        before = _just_before(run, runs)
        if before and _continuity(runs[before], logs) is None:
            note = (
                f"it is counted as a different seed from {before.folder}, which the same process"
                " logged before; this is wrong if learn() was called again for the same model"
            )
            noted[replace(run, notes=(*run.notes, note))] = logs
        else:
            noted[run] = logs
    return noted


def _joined(chain: Sequence[RunResult], agents: Mapping[RunResult, str]) -> RunResult:
    """Join a chain of runs, each of which continues the one before."""
    agent = agents[chain[0]]
    whole, start = chain[0], 0.0
    if agent:
        note = f"it continues the agent {agent}, whose run was not found; its steps start there"
        whole = replace(whole, notes=(*whole.notes, note))
    for run in chain[1:]:
        saved = re.search(r"_(\d+)_steps\.zip$", agents[run])
        start = start + float(saved[1]) if saved else whole.last_step
        whole = _after(run, whole, start)
    return whole


def _after(run: RunResult, earlier: RunResult, step: float) -> RunResult:
    """Join a run with the earlier one that it continues from a step."""
    kept, evaluated = earlier.steps <= step, earlier.evaluation_steps <= step
    note = f"it continues {earlier.folder} from step {step:,.0f}"
    return replace(
        run,
        steps=np.concatenate([earlier.steps[kept], run.steps + step]),
        times=np.concatenate([earlier.times[kept], run.times]),
        returns=np.concatenate([earlier.returns[kept], run.returns]),
        evaluation_steps=np.concatenate(
            [earlier.evaluation_steps[evaluated], run.evaluation_steps + step]
        ),
        evaluation_returns=np.concatenate(
            [earlier.evaluation_returns[evaluated], run.evaluation_returns]
        ),
        files=(*earlier.files, *run.files),
        notes=tuple(dict.fromkeys((*earlier.notes, *run.notes, note))),
    )
