"""Playing of whole games with an agent."""

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
from rl_coordconv.runs.checkpoint import derived_seed
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


@dataclass(frozen=True)
class Games:
    """Whole games of one agent.

    Attributes:
        returns: Raw score of each game.
        frames: Length of each game in emulator frames.
    """

    returns: Sequence[float]
    frames: Sequence[int]

    def interval(self) -> tuple[float, float]:
        """Return the 95% confidence interval of the mean score, by the percentile bootstrap."""
        draws = np.random.default_rng(0).choice(self.returns, (10_000, len(self.returns)))
        low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
        return float(low), float(high)

    def rows(
        self, step: int, protocol: str, policy: str, seed: object, checkpoint: str
    ) -> list[dict[str, object]]:
        """Return the games as rows of ``evaluations.csv``.

        Args:
            step: Number of training steps of the agent.
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


def evaluate_games(
    model: BaseAlgorithm,
    env: VecEnv,
    n_games: int,
    *,
    deterministic: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
) -> Games:
    """Play whole games with Stable-Baselines3's ``evaluate_policy``; see there for arguments."""
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
    """Show the number of finished games, from the local variables of ``evaluate_policy``."""
    if state["done"] and (returns := state["episode_rewards"]):
        bar.update(len(returns), f"mean score {np.mean(returns):,.0f}")
