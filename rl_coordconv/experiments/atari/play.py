"""Whole games by an agent: raw scores and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy

from rl_coordconv.envs.atari import Protocol, make_atari_env
from rl_coordconv.experiments.atari.agents import check_fit
from rl_coordconv.runs.checkpoint import environment_seed
from rl_coordconv.runs.console import Bar

_STREAM = 2  # keeps these games apart from those of a training and of its evaluations


@dataclass(frozen=True)
class Games:
    """Whole games of one agent.

    Args:
        returns: Raw score of each game.
        frames: Its length in emulator frames.
    """

    returns: Sequence[float]
    frames: Sequence[int]

    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean score, by bootstrap over the games."""
        draws = np.random.default_rng(0).choice(self.returns, (10_000, len(self.returns)))
        low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
        return float(low), float(high)


def play(
    model: BaseAlgorithm,
    game: str,
    n_games: int,
    *,
    protocol: Protocol = "classic",
    deterministic: bool = False,
    n_envs: int = 16,
    seed: int = 0,
    console: Console | None = None,
) -> Games:
    """Let an agent play whole games, several at once.

    How many games each environment plays is fixed beforehand: the first ``n_games`` to end would
    be the short ones more often than not.

    Args:
        model: The agent.
        game: Any spelling that `envs.game_name` knows.
        n_games: How many games.
        protocol: See `make_atari_env`.
        deterministic: Take the likeliest action instead of drawing one.
        n_envs: How many games are played at once.
        seed: Of games and actions.
        console: Where to show a progress bar; None for nowhere.

    Raises:
        UserError: The agent does not fit the game.
    """
    env = make_atari_env(game, min(n_envs, n_games), protocol=protocol, training=False)
    bar = Bar(console or Console(quiet=True), n_games, "games")
    try:
        check_fit(model, env, game)
        env.seed(environment_seed(seed, _STREAM))
        model.set_random_seed(seed)  # of torch, and of NumPy, by which a DQN explores
        bar.start(0)
        returns, frames = evaluate_policy(
            model,
            env,
            n_games,
            deterministic=deterministic,
            callback=partial(_show, bar),
            return_episode_rewards=True,
        )
        assert isinstance(returns, list)
        assert isinstance(frames, list)
        bar.update(n_games, "")
    finally:
        bar.stop()
        env.close()
    return Games(returns, frames)


def _show(bar: Bar, state: Mapping[str, Any], _: Mapping[str, Any]) -> None:
    """Show how many of the games that count are over, by `evaluate_policy`'s variables."""
    if state["done"] and (returns := state["episode_rewards"]):
        bar.update(len(returns), f"mean score {np.mean(returns):,.0f}")
