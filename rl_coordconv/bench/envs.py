"""Measure environments: `AtariVecEnv`, ale-py's vector environment, Stable-Baselines3's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import VecFrameStack

from rl_coordconv.bench import N_ENVS, timing
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.games import GAMES
from rl_coordconv.envs.vec_env import AtariVecEnv

GAME = "MsPacman"
_STEPS = 512  # per timed call, over all games; but at least two per game


def ale_games(game: str, n_envs: int, num_threads: int = 0) -> AtariVectorEnv:
    """Return ale-py's vector environment with the settings of `AtariVecEnv`; see there."""
    return AtariVecEnv(GAMES[game], n_envs, num_threads=num_threads).games


def play(
    step: Callable[[Any], object], actions: gym.Space[Any], n_envs: int
) -> Callable[[int], None]:
    """Return a function that plays a number of steps with random actions.

    Args:
        step: A function of the actions, ``[n_envs]``.
        actions: The action space of each game, discrete.
        n_envs: Number of parallel games.
    """
    assert isinstance(actions, gym.spaces.Discrete)
    n_actions = int(actions.n)
    random = np.random.default_rng(0)

    def play_steps(n_steps: int) -> None:
        for chosen in random.integers(n_actions, size=(n_steps, n_envs)):
            step(chosen)

    return play_steps


@contextmanager
def _candidates(n_envs: int, n_steps: int) -> Iterator[timing.Candidates]:
    """Make the environments; each candidate plays ``n_steps`` steps of every game."""
    ours = make_atari_env(GAME, n_envs)
    alone = ale_games(GAME, n_envs)
    # The prefix registers the games, among them this classic version with one frame per step.
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


def run(repeats: int, n_envs: Sequence[int] = N_ENVS) -> timing.Report:
    """Measure Ms. Pac-Man with random actions.

    Args:
        repeats: Number of measured rounds, at least 1.
        n_envs: Numbers of parallel games, each measured separately.
    """
    rows = []
    table = [["games", "Stable-Baselines3, steps/s", "ale-py alone", "AtariVecEnv"]]
    for n in timing.progress(n_envs, "Playing"):
        n_steps = max(2, _STEPS // n)
        with _candidates(n, n_steps) as candidates:
            seconds = timing.time_interleaved(candidates, repeats)
        speeds = {name: [n * n_steps / s for s in values] for name, values in seconds.items()}
        speed, ratio = timing.spreads(speeds), timing.ratios(speeds, "Stable-Baselines3")
        measured = {"steps_per_second": speed, "ratio_to_baseline": ratio}
        rows.append({"n_envs": n, "steps": n * n_steps, **measured})
        others = [f"{ratio[name]:.2f}" for name in ("ale-py", "AtariVecEnv")]
        table.append([str(n), f"{speed['Stable-Baselines3']:,.0f}", *others])
    note = f"""\
{GAME}, random actions; steps of four frames, summed over all games. The columns of ale-py and
AtariVecEnv are speeds relative to Stable-Baselines3 (DummyVecEnv and VecFrameStack)."""
    return timing.make_report(repeats, {"game": GAME, "rows": rows}, [table], note)
