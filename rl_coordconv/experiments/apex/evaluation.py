"""Evaluation of the agent on whole games during training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs.play import EvaluationLog, Games, evaluate_games
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.checkpoint import State, derived_seed, rng_untouched, seed_rng
from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.signals import StopSignals

_STREAM = 1  # separates evaluation games from the training games of the same run


class Evaluation:
    """Evaluation on whole games in the main process, with ``eval_epsilon`` random actions.

    It saves the best agent so far.

    Args:
        config: The settings.
        run: The run.
        env: Environments for whole games.
        signals: A signal interrupts an evaluation.
        bar: Shows how many games are over.
        step: The step to resume from.
        state: What `state` returned at that step; empty for a new run.
    """

    def __init__(
        self,
        config: ApexConfig,
        run: Run,
        env: VecEnv,
        signals: StopSignals,
        bar: Bar,
        step: int,
        state: State,
    ) -> None:
        self._config, self._run, self._env = config, run, env
        self._signals, self._bar = signals, bar
        self._log = EvaluationLog(run, state)
        self._log.open(step)

    @property
    def state(self) -> State:
        """The state to store in a checkpoint."""
        return self._log.state

    def is_due(self, step: int, is_last: bool) -> bool:
        """Return whether to evaluate at a step: every ``eval_freq`` steps, and at the last one."""
        every = self._config.eval_freq
        at_end = is_last and every > 0 and step > self._log.last_step
        return at_end or self._log.is_due(every, step)

    def run(self, agent: DQN) -> dict[str, float]:
        """Play and log ``eval_episodes`` games, and return the metrics by tag."""
        with self._signals.at_once():
            games = self._play(agent)
        if self._log.write(games, agent.num_timesteps, self._config.protocol):
            with atomic_write(self._run.best_model) as path:
                agent.save(path)
        return {
            "eval/mean_reward": float(np.mean(games.returns)),
            "eval/std_reward": float(np.std(games.returns)),
            "eval/mean_ep_length": float(np.mean(games.frames)),
        }

    def _play(self, agent: DQN) -> Games:
        seed = derived_seed(self._config.seed, agent.num_timesteps, _STREAM)
        with rng_untouched():
            seed_rng(seed)
            self._env.seed(seed)
            self._bar.note(f"evaluating 0/{self._config.eval_episodes}")
            return evaluate_games(agent, self._env, self._config.eval_episodes, callback=self._show)

    def _show(self, state: Mapping[str, Any], _: Mapping[str, Any]) -> None:
        """Show the number of finished games, from the local variables of ``evaluate_policy``."""
        if state["done"]:
            n_finished = len(state["episode_rewards"]) + 1  # this one is not in the list yet
            self._bar.note(f"evaluating {n_finished}/{self._config.eval_episodes}")
