"""Callbacks for evaluation, checkpoints and the progress bar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.callbacks import record_positional_maps
from rl_coordconv.envs.play import EvaluationLog, Games, evaluate_games
from rl_coordconv.experiments.atari.checkpoint import NUMBER, save_checkpoint
from rl_coordconv.experiments.atari.config import AtariConfig
from rl_coordconv.experiments.atari.logs import RolloutCallback
from rl_coordconv.runs.checkpoint import State, derived_seed, refuse_diverged, rng_untouched
from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.pace import is_due
from rl_coordconv.runs.signals import StopSignals

_STREAM = 1  # separates evaluation games from the training games of the same run


class Evaluation(RolloutCallback):
    """Evaluation on whole games with the stochastic policy, in separate environments.

    It does not change the training's random numbers, and saves the best model so far. A signal
    interrupts an evaluation; the resumed run repeats it, because `Checkpoints` saves before it. To
    resume, pass the ``state`` from the checkpoint.
    """

    def __init__(
        self,
        config: AtariConfig,
        run: Run,
        env: VecEnv,
        signals: StopSignals,
        bar: Bar,
        state: State,
    ) -> None:
        super().__init__()
        self.env = env
        self._config, self._run, self._signals, self._bar = config, run, signals, bar
        self._log = EvaluationLog(run, state)

    @property
    def state(self) -> State:
        """The state to store in a checkpoint."""
        return self._log.state

    @property
    def is_due(self) -> bool:
        """Whether an evaluation is due at the current step, or its result is in no checkpoint."""
        return self._log.is_due(self._config.eval_freq, self.num_timesteps)

    def _on_training_start(self) -> None:
        self._log.open(self.num_timesteps)

    def _on_rollout_start(self) -> None:
        if self.is_due:
            self._evaluate()

    def _on_training_end(self) -> None:
        if self._config.eval_freq and self.num_timesteps > self._log.last_step:
            self._evaluate()

    def _evaluate(self) -> None:
        with self._signals.at_once():
            games = self._play()
        is_best = self._log.write(games, self.num_timesteps, self._config.protocol)
        self.logger.record("eval/mean_reward", float(np.mean(games.returns)))
        self.logger.record("eval/std_reward", float(np.std(games.returns)))
        self.logger.record("eval/mean_ep_length", float(np.mean(games.frames)))
        record_positional_maps(self.logger, self.model.policy)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if is_best:
            with atomic_write(self._run.best_model) as path:
                self.model.save(path)

    def _play(self) -> Games:
        seed = derived_seed(self._config.seed, self.num_timesteps, _STREAM)
        with rng_untouched():
            torch.manual_seed(seed)
            self.env.seed(seed)
            n_games = self._config.eval_episodes
            self._bar.note(f"evaluating 0/{n_games}")
            return evaluate_games(self.model, self.env, n_games, callback=self._show)

    def _show(self, state: Mapping[str, Any], _: Mapping[str, Any]) -> None:
        """Show the number of finished games, from the local variables of ``evaluate_policy``."""
        if state["done"]:
            n_finished = len(state["episode_rewards"]) + 1  # this one is not in the list yet
            self._bar.note(f"evaluating {n_finished}/{self._config.eval_episodes}")


class Checkpoints(RolloutCallback):
    """Checkpoints between updates; must precede `Evaluation` in the list of callbacks.

    They are saved at the start, every ``save_freq`` steps, before each evaluation, at the end, and
    when a signal stops the run.
    """

    def __init__(
        self, save_freq: int, run: Run, signals: StopSignals, evaluation: Evaluation, state: State
    ) -> None:
        super().__init__()
        self._save_freq, self._run, self._signals = save_freq, run, signals
        self._evaluation = evaluation
        self._pending_log = state.get("pending_log", [])

    def _on_training_start(self) -> None:
        self._last_step = self.num_timesteps
        for name, value, excluded in self._pending_log:
            self.logger.record(name, value, excluded)
        if not self._run.saved:
            self.save()

    def _on_rollout_start(self) -> None:
        is_save_due = is_due(self._save_freq, self._last_step, self.num_timesteps)
        has_diverged = not all(map(math.isfinite, self._losses().values()))
        if self._signals.received or self._evaluation.is_due or is_save_due or has_diverged:
            self.save()
        self._signals.stop()

    def _on_training_end(self) -> None:
        self.save()

    def _losses(self) -> dict[str, float]:
        """Return the losses of the last update by name."""
        values = self.logger.name_to_value.items()
        return {name: float(value) for name, value in values if name.endswith("loss")}

    def save(self) -> None:
        """Save a checkpoint now."""
        step = f"step {self.num_timesteps:,}"
        refuse_diverged(self._run, step, self.model.policy, self._losses())
        self._last_step = self.num_timesteps
        # Stable-Baselines3 logs the last update's losses after the next rollout.
        log = self.logger
        pending = [
            (name, float(value), log.name_to_excluded[name])
            for name, value in log.name_to_value.items()
            if isinstance(value, NUMBER)
        ]
        save_checkpoint(self._run, self.model, {**self._evaluation.state, "pending_log": pending})


class ProgressBar(RolloutCallback):
    """A progress bar with steps, speed, time left and the mean score of the last 100 games."""

    def __init__(self, bar: Bar, total_timesteps: int) -> None:
        super().__init__()
        self._bar, self._total = bar, total_timesteps

    def _on_rollout_end(self) -> None:
        games = self.model.ep_info_buffer
        score = f"{np.mean([game['r'] for game in games]):,.0f}" if games else "-"
        speed = f"{self._bar.speed:,.0f}" if self._bar.speed else "-"
        step = min(self.num_timesteps, self._total)
        self._bar.update(step, f"{speed} steps/s, score {score}")
