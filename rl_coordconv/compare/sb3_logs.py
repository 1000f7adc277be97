"""Reads the logs of plain Stable-Baselines3 and rl-zoo3.

They do not say in one place what a run was, so game, algorithm and seed are guessed from names,
rl-zoo3's ``args.yml``, the head of ``monitor.csv`` and the logged tags.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_coordconv.compare.events import read_events
from rl_coordconv.compare.published import HUMAN_AND_RANDOM
from rl_coordconv.compare.results import (
    FRAMES_PER_STEP,
    GAMES_PER_SCORE,
    Array,
    BrokenRun,
    RunResult,
    hours_without_pauses,
    read_columns,
)

_ALGORITHM = re.compile("a2c|acer|acktr|ars|crossq|dqn|maskableppo|ppo|ppo_lstm|qrdqn|sac|tqc|trpo")
_ENV_ID = re.compile(r"^(?:ALE[/-])?([A-Za-z]+?)(NoFrameskip|Deterministic)?-v\d+(?:_\d+)?$")
_SCORE, _EVALUATION = "rollout/ep_rew_mean", "eval/mean_reward"
_OF_PPO, _OF_A2C = "train/clip_fraction", "train/policy_loss"
_RUNNING_MEAN = (
    "known by rollout/ep_rew_mean only: a running mean of 100 games, of clipped rewards or single"
    " lives if its environments were wrapped so"
)
_ONLY_EVALUATED = "known by its evaluations only, which are used for its training games here"
_GREEDY = "its evaluation is EvalCallback's, whose policy is deterministic by default"


@dataclass(frozen=True)
class SB3Logs:
    """The logs of one run."""

    folder: Path
    monitors: tuple[Path, ...]
    evaluations: tuple[Path, ...]
    events: tuple[Path, ...]
    arguments: tuple[Path, ...]

    @property
    def kinds(self) -> list[str]:
        """Which logs there are."""
        return [name for name in ("monitors", "evaluations", "events") if getattr(self, name)]


def find_logs(folder: Path, *, nested: bool = False) -> SB3Logs:
    """Return the logs directly in a folder, or also those below it."""
    find = folder.rglob if nested else folder.glob
    return SB3Logs(
        folder,
        tuple(sorted(find("*monitor.csv"))),
        tuple(sorted(find("evaluations.npz"))),
        tuple(sorted(find("events.out.tfevents.*"))),
        tuple(sorted(folder.glob("*/args.yml"))),
    )


def read_logs(logs: SB3Logs, variant: str) -> RunResult:
    """Read the logs of one run.

    Args:
        logs: Its logs.
        variant: What to call it.

    Raises:
        BrokenRun: None of them can be used.
    """
    scalars, tags = read_events(logs.events, (_SCORE, _EVALUATION), (_OF_PPO, _OF_A2C))
    games, env_id, notes = _read_monitors(logs.monitors)
    evaluation = _read_evaluations(logs.evaluations)
    if not len(evaluation):
        evaluation = scalars[_EVALUATION][:, [0, 2]]
    window = GAMES_PER_SCORE
    if len(games):
        last = max([*scalars[_SCORE][-1:, 0], *evaluation[-1:, 0]], default=float("nan"))
        games, note = _in_steps(games, last, env_id or str(logs.folder.resolve()))
        notes = (*notes, note)
    elif len(scalars[_SCORE]):
        games, window, notes = scalars[_SCORE], 1, (*notes, _RUNNING_MEAN)
    elif len(evaluation):
        games, window, notes = _means(evaluation), 1, (*notes, _ONLY_EVALUATED)
    else:
        raise BrokenRun("none of its logs contains a score yet")
    if len(evaluation):
        notes = (*notes, _GREEDY)
    arguments = _read_arguments(logs.arguments)
    folder = logs.folder.resolve()  # "." has no name to guess from
    game, protocol = _game(arguments.get("env", ""), env_id, *reversed(folder.parts))
    return RunResult(
        folder=logs.folder,
        algorithm=_algorithm(arguments.get("algo", ""), folder, tags),
        game=game,
        variant=variant,
        seed=arguments.get("seed", folder.name),
        protocol=protocol,
        steps=games[:, 0],
        hours=hours_without_pauses(games[:, 1]),
        returns=games[:, 2],
        window=window,
        evaluation_steps=evaluation[:, 0],
        evaluation_returns=evaluation[:, 1],
        from_sb3=True,
        notes=notes,
    )


def _read_monitors(paths: Sequence[Path]) -> tuple[Array, str, tuple[str, ...]]:
    """Return all monitors' games by time, their environment's name, and notes.

    A game ``[games, 3]`` is its length, the seconds at its end, and its score.
    """
    parts, env_id = [np.empty((0, 3))], ""
    notes: tuple[str, ...] = ()
    for path in paths:
        text, start = path.read_text(encoding="utf-8", errors="replace"), 0.0
        if text.startswith("#"):
            line, _, text = text.partition("\n")
            try:
                head = json.loads(line[1:])
            except ValueError:
                raise BrokenRun(f"{path.name} is damaged") from None
            start, env_id = float(head.get("t_start", 0)), str(head.get("env_id") or env_id)
        games, lost = read_columns(text, path.name, ("l", "t", "r"))
        games[:, 1] += start
        parts.append(games)
        notes += lost
    games = np.concatenate(parts)
    return games[np.argsort(games[:, 1], kind="stable")], env_id, notes


def _in_steps(games: Array, last_step: float, name: str) -> tuple[Array, str]:
    """Turn the lengths of games ``[games, 3]`` into steps, and return a note of what was assumed.

    Stable-Baselines3's Atari wrappers count frames in a monitor; others count steps. The last step
    of the other logs decides; without one, the environment's name.
    """
    total = games[:, 0].cumsum()
    if np.isfinite(last_step):
        in_frames = total[-1] > 2 * last_step
        reason = "because the other logs end at that step"
    else:
        in_frames = "NoFrameskip" in name
        reason = "by the environment's name"
    divisor = FRAMES_PER_STEP if in_frames else 1
    unit = "frames" if in_frames else "steps"
    steps = np.column_stack([total / divisor, games[:, 1:]])
    return steps, f"lengths in its monitor.csv are assumed to be {unit}, {reason}"


def _read_evaluations(paths: Sequence[Path]) -> Array:
    """Return step and score of every evaluation game ``[games, 2]``."""
    parts = [np.empty((0, 2))]
    for path in paths:
        try:
            # Opened here: NumPy leaves a torn file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                steps, results = content["timesteps"], content["results"]
            parts += [
                np.column_stack([np.full(len(games), step), games]).astype(float)
                for step, games in zip(steps, np.atleast_2d(results), strict=True)
            ]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise BrokenRun(f"{path.name} is damaged") from None
    rows = np.concatenate(parts)
    rows = rows[np.isfinite(rows).all(axis=1)]
    return rows[np.argsort(rows[:, 0], kind="stable")]


def _means(evaluation: Array) -> Array:
    """Return step, no time, and mean score of every evaluation ``[evaluations, 3]``."""
    steps = np.unique(evaluation[:, 0])
    means = [evaluation[evaluation[:, 0] == step, 1].mean() for step in steps]
    return np.column_stack([steps, np.zeros_like(steps), means])


def _read_arguments(paths: Sequence[Path]) -> dict[str, str]:
    """Return algorithm, environment and seed from rl-zoo3's ``args.yml``.

    It contains Python objects, which a safe loader rejects, so search its text for the keys.
    """
    found = {}
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        for key in "algo", "env", "seed":
            match = re.search(rf"- - {key}\n +- (\S+)", text)
            if match:
                found[key] = match[1]
    return found


def is_known_word(name: str) -> bool:
    """Return whether a name is an algorithm or a game."""
    return bool(_ALGORITHM.fullmatch(name.lower())) or _game(name)[0] != "unknown"


def _algorithm(named: str, folder: Path, tags: set[str]) -> str:
    for part in (named, *reversed(folder.parts)):
        name = re.sub(r"_\d+$", "", part.lower())
        if _ALGORITHM.fullmatch(name):
            return name
    for part in reversed(folder.parts):
        for word in re.split(r"[^a-z0-9]+", part.lower()):
            if _ALGORITHM.fullmatch(word):
                return word
    if _OF_PPO in tags:
        return "ppo"
    return "a2c" if _OF_A2C in tags else "unknown"


def _game(*names: str) -> tuple[str, str]:
    """Return game and protocol by the first name that has them."""
    for name in names:
        match = _ENV_ID.match(name)
        if match:
            return match[1], "classic" if match[2] == "NoFrameskip" else "unknown"
    games = {game.lower(): game for game in HUMAN_AND_RANDOM}
    for name in names:
        for word in (re.sub(r"[_-]?\d*$", "", name), *re.split(r"[^A-Za-z0-9]+", name)):
            if word.lower().replace("_", "") in games:
                return games[word.lower().replace("_", "")], "unknown"
    return "unknown", "unknown"
