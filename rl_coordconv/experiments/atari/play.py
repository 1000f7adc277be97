"""Playing of whole games with an agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.games import Protocol
from rl_coordconv.envs.play import Games, evaluate_games
from rl_coordconv.runs.checkpoint import derived_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import Bar

_STREAM = 2  # separates these games from those of a training and of its evaluations


@dataclass(frozen=True)
class PlaySettings:
    """Settings for playing games.

    Attributes:
        game: The game, in any spelling that `game_name` accepts.
        protocol: See `make_atari_env`.
        deterministic: Take the most likely action instead of sampling one.
        n_envs: Number of parallel environments.
        seed: Seed of games and actions.
    """

    game: str
    protocol: Protocol = "classic"
    deterministic: bool = False
    n_envs: int = 16
    seed: int = 0

    @property
    def policy(self) -> str:
        """``deterministic`` or ``stochastic``."""
        return "deterministic" if self.deterministic else "stochastic"


def play(
    model: BaseAlgorithm, settings: PlaySettings, n_games: int, console: Console | None = None
) -> Games:
    """Play whole games with an agent, in parallel environments.

    The number of games per environment is fixed in advance: counting the first ``n_games`` to end
    would favour short games.

    Args:
        model: The agent.
        settings: How it plays.
        n_games: Number of games.
        console: Where to show a progress bar; None shows none.

    Raises:
        UserError: The agent does not fit the game.
    """
    seed = derived_seed(settings.seed, _STREAM)
    bar = Bar(console or Console(quiet=True), n_games, "games")
    with open_games(model, settings, min(settings.n_envs, n_games), seed) as env, bar:
        games = evaluate_games(
            model, env, n_games, deterministic=settings.deterministic, callback=partial(_show, bar)
        )
        bar.update(n_games, "")
    return games


@contextmanager
def open_games(
    model: BaseAlgorithm,
    settings: PlaySettings,
    n_envs: int,
    env_seed: int,
    *,
    collect_frames: bool = False,
) -> Iterator[VecEnv]:
    """Open parallel environments for whole games, and seed them and the agent's actions.

    Args:
        model: The agent.
        settings: How it plays; its ``seed`` is that of the actions.
        n_envs: Number of environments.
        env_seed: Seed of the environments.
        collect_frames: Allow rendering, see `make_atari_env`.

    Raises:
        UserError: The agent does not fit the game, or its output is NaN.
    """
    env = make_atari_env(
        settings.game,
        n_envs,
        protocol=settings.protocol,
        backend="sb3" if collect_frames else "native",  # the native backend does not render
        training=False,
        collect_frames=collect_frames,
    )
    try:
        for space, agents, games in (
            ("observation space", model.observation_space, env.observation_space),
            ("action space", model.action_space, env.action_space),
        ):
            if agents != games:
                raise UserError(
                    f"The agent's {space} is {agents}, but that of {settings.game} is {games}."
                )
        env.seed(env_seed)
        model.set_random_seed(settings.seed)  # torch, and NumPy for the exploration of DQN
        yield env
    except ValueError as error:
        if is_nan_output(error):
            raise UserError(
                "The agent's output is NaN or infinite: its training diverged."
            ) from None
        raise
    finally:
        env.close()


def is_nan_output(error: ValueError) -> bool:
    """Return whether torch's error means that a policy's output is NaN or infinite."""
    return "to satisfy the constraint" in str(error)


def _show(bar: Bar, state: Mapping[str, Any], _: Mapping[str, Any]) -> None:
    """Show the number of finished games, from the local variables of ``evaluate_policy``."""
    if state["done"] and (returns := state["episode_rewards"]):
        bar.update(len(returns), f"mean score {np.mean(returns):,.0f}")
