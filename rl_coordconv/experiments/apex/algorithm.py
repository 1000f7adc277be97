"""RLlib's DQN with the settings of an `ApexConfig`."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from gymnasium import spaces
from ray.exceptions import RayError
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn import calculate_rr_weights
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from torch import Tensor

from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.experiments.apex.module import (
    ApexLearner,
    ApexModule,
    ApexRunner,
    RunnerGames,
    log_game,
)
from rl_coordconv.runs.checkpoint import State, derived_seed
from rl_coordconv.runs.config import UserError

_REPLAY = 5  # the stream of the seed of the replay buffer
_PROBE_SECONDS = 0.2  # a live runner answers within milliseconds
_STATE = [f"learner/rl_module/{DEFAULT_MODULE_ID}", "learner/optimizer"]
_METRICS = {
    "qf_loss": "train/loss",
    "qf_mean": "train/q_mean",
    "qf_max": "train/q_max",
    "td_error_mean": "train/td_error",
    "gradients_default_optimizer_global_norm": "train/gradient_norm",
    "default_optimizer_learning_rate": "train/learning_rate",
}


@dataclass(frozen=True)
class Round:
    """The result of one round: all games are played for some steps, then the learner updates.

    Attributes:
        steps: Number of steps of all games.
        updates: Number of updates.
        games: Raw score and length in frames of each game that ended.
        metrics: Means over the last update of the round, by tag; empty if there was none.
    """

    steps: int
    updates: int
    games: Sequence[tuple[float, int]]
    metrics: Mapping[str, float]


class Apex:
    """A running DQN of RLlib; close it at the end.

    Args:
        config: The settings.
        device: ``cpu``, or ``cuda`` for the learners.
        space: The observation space of one game.
        actions: The action space of one game.
        step: Number of steps before this start.

    Attributes:
        replay_ratio: See `replay_ratio`.
    """

    def __init__(
        self, config: ApexConfig, device: str, space: spaces.Space[Any], actions: Any, step: int
    ) -> None:
        logging.getLogger("ray.rllib").setLevel(logging.ERROR)
        built = rllib_config(config, device, space, actions, step)
        self._updates_per_round = int(calculate_rr_weights(built)[1])
        self.replay_ratio = replay_ratio(built)
        self._steps = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # RLlib calls functions that it has deprecated
            dqn: Any = built.build_algo()  # by its annotations, much of it may be None
        self._dqn = dqn
        with suppress(OSError):
            os.removedirs(dqn.logdir)  # in ~/ray_results; nothing is ever in it
        seed = derived_seed(config.seed, _REPLAY, step)
        dqn.local_replay_buffer.rng = np.random.default_rng(seed)

    def train(self) -> Round:
        """Play and learn for one round.

        Raises:
            UserError: A learner was lost.
        """
        if not self._has_runners():
            time.sleep(_PROBE_SECONDS)
            return Round(0, 0, [], {})  # RLlib would learn more and more from the same steps
        # RLlib handles the loss of a runner.
        with warnings.catch_warnings(), _learner_errors():
            warnings.simplefilter("ignore")
            result = self._dqn.train()
        played = result["env_runners"]
        steps = int(played["num_env_steps_sampled_lifetime"])
        new_steps, self._steps = steps - self._steps, steps
        returns, frames = _series(played, "game_return"), _series(played, "game_frames")
        games = [(x, int(n)) for x, n in zip(returns, frames, strict=True)]
        learned = result.get("learners", {}).get(DEFAULT_MODULE_ID, {})
        metrics = {tag: float(learned[name]) for name, tag in _METRICS.items() if name in learned}
        return Round(new_steps, self._updates_per_round if metrics else 0, games, metrics)

    def _has_runners(self) -> bool:
        """Return whether anything plays: all runners may be lost until Ray has restarted them."""
        group = self._dqn.env_runner_group
        if not group.num_remote_env_runners():
            return True  # the main process plays
        if not group.num_healthy_remote_env_runners():
            self._dqn.restore_env_runners(group)
        return bool(group.num_healthy_remote_env_runners())

    def weights(self) -> dict[str, Tensor]:
        """Return the weights of the `DuelingNetwork`, on the CPU.

        Raises:
            UserError: A learner was lost.
        """
        with _learner_errors():
            weights = self._dqn.learner_group.get_weights()[DEFAULT_MODULE_ID]
        prefix = "network."
        return {
            name.removeprefix(prefix): torch.from_numpy(np.array(value))
            for name, value in weights.items()
            if name.startswith(prefix)
        }

    def state(self) -> State:
        """Return the weights, those of the target network, and the optimiser's state.

        Raises:
            UserError: A learner was lost.
        """
        with _learner_errors():
            learner = self._dqn.learner_group.get_state(_STATE)["learner"]
        state: State = _tensors({name: learner[name] for name in ("rl_module", "optimizer")})
        return state

    def restore(self, state: State) -> None:
        """Restore what `state` returned, also in the runners."""
        group = self._dqn.learner_group
        group.set_state({"learner": _arrays(state)})
        self._dqn.env_runner_group.sync_weights(
            from_worker_or_learner_group=group, inference_only=True
        )

    def close(self) -> None:
        """Stop the runners and learners."""
        self._dqn.stop()


@contextmanager
def _learner_errors() -> Iterator[None]:
    """Turn the error of a learner that was lost into a sentence for the user."""
    try:
        yield
    except RayError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"A learner was lost ({reason}). Run the same command again to resume."
        ) from None


def check_size(config: ApexConfig) -> None:
    """Raise a `UserError` if the cluster is too small, as Ray would wait for a larger one."""
    needed, cores = config.num_env_runners + config.num_learners, ray.cluster_resources()["CPU"]
    if needed > cores:
        raise UserError(
            f"The {config.num_env_runners} environment runners and {config.num_learners} learners"
            f" need a core each, but there are {cores:g}; lower --num-env-runners."
        )


def rllib_config(
    config: ApexConfig, device: str, space: spaces.Space[Any], actions: Any, step: int
) -> DQNConfig:
    """Return RLlib's config."""
    runners, learners = config.num_env_runners, config.num_learners
    built: DQNConfig = (
        DQNConfig()
        .environment(
            RunnerGames,
            env_config={"game": config.env, "protocol": config.protocol},
            observation_space=space,
            action_space=actions,
        )
        .env_runners(
            env_runner_cls=ApexRunner,
            num_env_runners=runners,
            num_envs_per_env_runner=config.n_envs,
            gym_env_vectorize_mode="vector_entry_point",
            rollout_fragment_length=config.rollout_steps,
        )
        .learners(
            learner_class=ApexLearner,
            num_learners=learners,
            num_gpus_per_learner=int(device != "cpu"),
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=ApexModule,
                model_config={
                    "extractor": config.extractor,
                    "hidden": config.hidden,
                    "precision": config.precision,
                },
            )
        )
        .training(
            lr=config.learning_rate,
            adam_epsilon=config.adam_eps,
            gamma=config.gamma,
            grad_clip=config.max_grad_norm,  # type: ignore[arg-type]  # RLlib accepts fractions
            grad_clip_by="global_norm",
            train_batch_size_per_learner=config.batch_size // max(learners, 1),
            n_step=config.n_step,
            double_q=True,
            dueling=True,
            num_steps_sampled_before_learning_starts=config.learning_starts,
            # RLlib's ratio counts the main process as one more runner.
            training_intensity=config.replay_ratio * max(runners, 1) / (runners + 1),
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": config.replay_size,
                "alpha": config.replay_alpha,
                "beta": config.replay_beta,
            },
        )
        .callbacks(on_episode_end=log_game)
        .reporting(min_sample_timesteps_per_iteration=0)  # one round per call of train()
        .debugging(seed=derived_seed(config.seed, step), log_level="ERROR")
        # While a runner is lost, each round waits this long for it.
        .fault_tolerance(
            restart_failed_env_runners=True, env_runner_health_probe_timeout_s=_PROBE_SECONDS
        )
    )
    # RLlib counts sampled steps.
    steps = config.target_update_interval * config.batch_size / replay_ratio(built)
    return built.training(target_network_update_freq=round(steps))


def replay_ratio(built: DQNConfig) -> float:
    """Return the samples to train on per step, for whole numbers of rounds and updates."""
    rounds, updates = map(int, calculate_rr_weights(built))
    games = max(built.num_env_runners, 1) * built.num_envs_per_env_runner
    steps = rounds * games * built.get_rollout_fragment_length()
    return float(updates * built.total_train_batch_size / steps)


def _series(results: Mapping[str, Any], name: str) -> list[float]:
    """Return the logged values; NaN, which means none, is left out."""
    values = np.atleast_1d(np.asarray(results.get(name, []), dtype=float))
    return [float(value) for value in values if not np.isnan(value)]


def _tensors(value: Any) -> Any:
    """Replace NumPy's arrays and numbers by torch's and Python's, for a checkpoint."""
    if isinstance(value, Mapping):
        return {key: _tensors(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tensors(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy()) if value.shape else torch.tensor(value.item())
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    """Undo `_tensors` as far as RLlib needs it."""
    if isinstance(value, Mapping):
        return {key: _arrays(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_arrays(item) for item in value]
    return value.cpu().numpy() if isinstance(value, Tensor) else value
