"""Callbacks that log games, speed and settings."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from rl_coordconv.experiments.atari.checkpoint import tensorboard_writer
from rl_coordconv.experiments.atari.config import AtariConfig
from rl_coordconv.runs.episodes import EpisodeLog
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.logging import write_settings
from rl_coordconv.runs.pace import Speed


class RolloutCallback(BaseCallback):
    """A callback that acts before and after rollouts, not at every step."""

    def _on_step(self) -> bool:
        return True


class EpisodeCallback(BaseCallback):
    """A callback that logs every finished game with an `EpisodeLog`."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def _on_training_start(self) -> None:
        self._log = EpisodeLog(self._run, tensorboard_writer(self.logger), self.num_timesteps)

    def _on_step(self) -> bool:
        if self.locals["dones"].any():
            for info in self.locals["infos"]:
                if "episode" in info:
                    episode = info["episode"]
                    self._log.write(self.num_timesteps, episode["r"], episode["l"])
        return True


class SpeedLog(RolloutCallback):
    """``time/steps_per_second`` over ten seconds; SB3's ``time/fps`` averages since the start."""

    def _on_training_start(self) -> None:
        self._speed = Speed(self.num_timesteps)

    def _on_rollout_end(self) -> None:
        self.logger.record("time/steps_per_second", self._speed.at(self.num_timesteps))


class MoreRows(RolloutCallback):
    """Extra rows in the log: nine before the first of Stable-Baselines3, and one at the end.

    They give a curve to a run of a few thousand steps. Must follow callbacks that record values.
    """

    def __init__(self, config: AtariConfig) -> None:
        super().__init__()
        self._config = config

    def _on_training_start(self) -> None:
        self._iteration = 0  # since this start, as in Stable-Baselines3

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, OnPolicyAlgorithm)
        config, step, self._iteration = self._config, self.num_timesteps, self._iteration + 1
        update = step // (config.n_envs * config.n_steps)
        tenth = config.log_interval // 10  # 0 if ``log_interval`` is below 10
        is_early = update < config.log_interval and tenth > 0 and update % tenth == 0
        if (is_early or step >= config.total_timesteps) and self._iteration % config.log_interval:
            self.model.dump_logs(self._iteration)


# The layout of TensorBoard's page Custom Scalars: tags by section and chart.
_CURVES = {
    "Score": {
        "mean of the last 100 training games": ["Multiline", ["rollout/ep_rew_mean"]],
        "mean of the evaluation games": ["Multiline", ["eval/mean_reward"]],
    },
    "Learning": {
        "entropy of the policy, negative": ["Multiline", ["train/entropy_loss"]],
        "explained variance of the value": ["Multiline", ["train/explained_variance"]],
        "share of the coordinates in the weights": ["Multiline", ["coord/weight_share/.*"]],
    },
    "Speed": {"steps per second": ["Multiline", ["time/steps_per_second"]]},
}


class ComparisonPages(RolloutCallback):
    """TensorBoard's pages for comparing runs: HParams, and Custom Scalars with the main curves."""

    def __init__(self, config: AtariConfig) -> None:
        super().__init__()
        self._config = config

    def _on_training_start(self) -> None:
        writer = tensorboard_writer(self.logger)
        write_settings(writer, self._config.model_dump())
        writer.add_custom_scalars(_CURVES)
