"""Whole games of an agent: how they are played, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.games import Protocol
from rl_coordconv.runs.checkpoint import environment_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import Bar

GAME_COLUMNS = (
    *("step", "game", "episode_return", "length_frames"),
    *("protocol", "policy", "seed", "checkpoint"),
)
"""The columns of ``evaluations.csv``."""

_STREAM = 2  # separates these games from those of a training and of its evaluations


@dataclass(frozen=True)
class PlaySettings:
    """How an agent plays games.

    Attributes:
        game: Any spelling that `game_name` knows.
        protocol: See `make_atari_env`.
        deterministic: Take the most likely action instead of drawing one.
        n_envs: Games played at once.
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


@dataclass(frozen=True)
class Games:
    """Whole games of one agent.

    Attributes:
        returns: Raw score of each game.
        frames: Its length in emulator frames.
    """

    returns: Sequence[float]
    frames: Sequence[int]

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the mean score, by bootstrap over the games."""
        draws = np.random.default_rng(0).choice(self.returns, (10_000, len(self.returns)))
        low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
        return float(low), float(high)

    def rows(
        self, step: int, protocol: str, policy: str, seed: object, checkpoint: str
    ) -> list[dict[str, object]]:
        """Return the games as rows of ``evaluations.csv``.

        Args:
            step: Training steps of the agent.
            protocol: ``classic`` or ``sticky``.
            policy: ``stochastic`` or ``deterministic``.
            seed: Seed of the games; ``training`` for an evaluation during training.
            checkpoint: ``final``, ``best``, or a name such as ``step-0000001000``; ``training`` for
                an evaluation during training.
        """
        scores = enumerate(zip(self.returns, self.frames, strict=True))
        rows = [(step, i, *game, protocol, policy, seed, checkpoint) for i, game in scores]
        return [dict(zip(GAME_COLUMNS, row, strict=True)) for row in rows]


def play(
    model: BaseAlgorithm, settings: PlaySettings, n_games: int, console: Console | None = None
) -> Games:
    """Let an agent play whole games, several at once.

    The number of games of each environment is fixed in advance: the first ``n_games`` to end would
    too often be short ones.

    Args:
        model: The agent.
        settings: How it plays.
        n_games: Number of games.
        console: Where to show a progress bar; None for nowhere.

    Raises:
        UserError: The agent does not fit the game.
    """
    seed = environment_seed(settings.seed, _STREAM)
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
    """Open ``n_envs`` whole games for an agent, and seed them and its actions.

    The actions are seeded with ``settings.seed``. With ``collect_frames`` the games can be
    rendered, see `make_atari_env`.

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
        for verb, agents, games in (
            ("sees", model.observation_space, env.observation_space),
            ("chooses from", model.action_space, env.action_space),
        ):
            if agents != games:
                raise UserError(f"The agent {verb} {agents}, but {settings.game} has {games}.")
        env.seed(env_seed)
        model.set_random_seed(settings.seed)  # of torch, and of NumPy, which a DQN explores with
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


def evaluate_games(
    model: BaseAlgorithm,
    env: VecEnv,
    n_games: int,
    *,
    deterministic: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
) -> Games:
    """Play whole games by Stable-Baselines3's ``evaluate_policy``, whose arguments these are."""
    returns, frames = evaluate_policy(
        model,
        env,
        n_games,
        deterministic=deterministic,
        callback=callback,
        return_episode_rewards=True,
    )
    assert isinstance(returns, list)
    assert isinstance(frames, list)
    return Games(returns, frames)


def _show(bar: Bar, state: Mapping[str, Any], _: Mapping[str, Any]) -> None:
    """Show the number of finished games, from `evaluate_policy`'s variables."""
    if state["done"] and (returns := state["episode_rewards"]):
        bar.update(len(returns), f"mean score {np.mean(returns):,.0f}")
