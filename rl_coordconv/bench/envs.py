"""How fast games are played: our vector environment, ale-py's alone, and Stable-Baselines3's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import VecFrameStack

from rl_coordconv.bench.timing import (
    RATIO,
    SPEED,
    Candidates,
    Spread,
    aligned,
    progress,
    ratios,
    time_interleaved,
)
from rl_coordconv.envs.atari import GAMES, make_atari_env
from rl_coordconv.envs.vec_env import AtariVecEnv
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import versions

GAME = "MsPacman"
N_ENVS = (8, 16, 32, 64, 128, 256)
_STEPS = 512  # over all games, in an interval; but never fewer than two of each game


def ale_games(game: str, n_envs: int, num_threads: int = 0) -> AtariVectorEnv:
    """The games of `AtariVecEnv` without anything around them.

    Args:
        game: A name in `GAMES`.
        n_envs: How many games are played side by side.
        num_threads: Threads that emulate; 0 for one per core.
    """
    return AtariVecEnv(GAMES[game], n_envs, num_threads=num_threads).games


def play(
    step: Callable[[Any], object], actions: gym.Space[Any], n_envs: int
) -> Callable[[int], None]:
    """What plays a number of steps with random actions.

    Args:
        step: Takes actions, ``[n_envs]``.
        actions: What each game knows, a discrete space.
        n_envs: How many games are played side by side.
    """
    assert isinstance(actions, gym.spaces.Discrete)
    n_actions = int(actions.n)
    random = np.random.default_rng(0)

    def play_steps(n_steps: int) -> None:
        for chosen in random.integers(n_actions, size=(n_steps, n_envs)):
            step(chosen)

    return play_steps


@contextmanager
def _candidates(n_envs: int, n_steps: int) -> Iterator[Candidates]:
    """What to time, by name: each call is so many steps of every game."""
    ours = make_atari_env(GAME, n_envs)
    alone = ale_games(GAME, n_envs)
    # The module registers the game, and has its classic version, of one frame a step.
    classic = env_util.make_atari_env(f"ale_py:{GAME}NoFrameskip-v4", n_envs)
    stacked = VecFrameStack(classic, n_stack=4)
    for games in (ours, alone, stacked):
        games.reset()
    actions = alone.single_action_space
    steps = {"Stable-Baselines3": stacked.step, "ale-py": alone.step, "AtariVecEnv": ours.step}
    try:
        yield {name: partial(play(step, actions, n_envs), n_steps) for name, step in steps.items()}
    finally:
        ours.close()
        stacked.close()


def run(repeats: int, n_envs: Sequence[int] = N_ENVS) -> dict[str, Any]:
    """Play Ms. Pac-Man with random actions.

    Args:
        repeats: Rounds that count.
        n_envs: How many games are played side by side, each number in turn.

    Returns:
        What was measured and on what, as JSON holds it: steps per second over all games, and ratios
        to Stable-Baselines3 in the same round.

    Raises:
        UserError: There is nothing to measure.
    """
    for name, value in (("repeats", repeats), ("n-envs", min(n_envs, default=0))):
        if value < 1:
            raise UserError(f"{name} must be at least 1, not {value}.")
    rows = []
    for n in progress(n_envs, "Playing"):
        n_steps = max(2, _STEPS // n)
        with _candidates(n, n_steps) as candidates:
            seconds = time_interleaved(candidates, repeats)
        speeds = {name: [n * n_steps / s for s in values] for name, values in seconds.items()}
        rows.append(
            {
                "n_envs": n,
                "steps": n * n_steps,
                "steps_per_second": {name: asdict(Spread.of(s)) for name, s in speeds.items()},
                "ratio_to_baseline": ratios(speeds, "Stable-Baselines3"),
            }
        )
    return {
        **{"bench": "envs", "game": GAME, "versions": versions(), "cores": os.cpu_count()},
        **{"repeats": repeats, "rows": rows},
    }


def table(report: dict[str, Any]) -> str:
    """A report in Markdown, aligned for a terminal."""
    lines = [["games", "Stable-Baselines3, steps/s", "ale-py alone", "AtariVecEnv"]]
    for row in report["rows"]:
        others = (row["ratio_to_baseline"][name] for name in ("ale-py", "AtariVecEnv"))
        speed = SPEED.format(**row["steps_per_second"]["Stable-Baselines3"])
        lines.append([str(row["n_envs"]), speed, *(RATIO.format(**other) for other in others)])
    return aligned(lines) + "\n\n" + _NOTE.format(**report)


_NOTE = """\
{game}, random actions, steps of four frames over all games: median (quartiles) of {repeats} rounds;
ale-py {versions[ale-py]}, stable-baselines3 {versions[stable-baselines3]}, {cores} cores.
ale-py alone and AtariVecEnv: ratios to Stable-Baselines3 in the same round, which has DummyVecEnv
and VecFrameStack."""
