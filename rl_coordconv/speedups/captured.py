"""A2C and PPO whose inference and updates are replayed as CUDA graphs.

    env = GroupedVecEnv([make_atari_env("MsPacman", 8) for _ in range(2)])
    model = CapturedA2C("CnnPolicy", env, device="cuda", policy_kwargs=policy_kwargs(
        "coordconv", optimizer_class=LightRMSpropTFLike, optimizer_kwargs={"eps": 1e-5}))

On a GPU, small networks are bound by the launches of their kernels and by copies. Here the rollout
stays on the device, copies are asynchronous, and each step waits once, for the actions. With a
`GroupedVecEnv`, one group's actions are chosen while others are emulated. Actions are drawn from
the random numbers that Stable-Baselines3 uses, and updates equal its updates up to rounding. So
equal seeds give the same training, with any number of groups. On a CPU the same functions run
without graphs. Files are those of ``A2C`` and ``PPO``.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import chain
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.nn import functional as F

from rl_coordconv.runs.capture import Captured
from rl_coordconv.speedups.acting import Group, Outcome, actor_critic
from rl_coordconv.speedups.device_rollout import DeviceRollout, Samples
from rl_coordconv.speedups.groups import GroupedVecEnv
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
from rl_coordconv.speedups.policy import ReuseCnnPolicy

Measures = dict[str, Tensor]
"""The losses and other scalars of an update, by the name under which they are logged."""


class _Captured(OnPolicyAlgorithm):
    """Base class of `CapturedA2C` and `CapturedPPO`.

    ``rollout_buffer`` stays empty. Callbacks must copy ``new_obs`` to keep it. With several groups,
    they are called while some games are already in their next step.

    Raises:
        ValueError: The policy, the optimiser or a setting is not supported.
    """

    normalize_advantage: bool
    _measures: tuple[str, ...]  # those that are logged
    _policy_loss: str  # the name of the policy's loss among them

    def _setup_model(self) -> None:
        super()._setup_model()
        self._check()
        self._optimizer.make_capturable(self.device)
        self._forget_graphs()

    def _check(self) -> None:
        """Raise a ValueError with advice if a setting is not supported."""
        name = type(self).__name__
        if not isinstance(self.action_space, spaces.Discrete):
            raise ValueError(f"{name} needs a Discrete action space, not {self.action_space}.")
        if not isinstance(self.observation_space, spaces.Box):
            raise ValueError(f"{name} needs Box observations, not {self.observation_space}.")
        if isinstance(self.policy, ReuseCnnPolicy) or not self.policy.share_features_extractor:
            raise ValueError(f"{name} needs a policy such as CnnPolicy, with a shared extractor.")

    @property
    def _optimizer(self) -> LightRMSpropTFLike | LightAdam:
        optimizer = self.policy.optimizer
        if not isinstance(optimizer, LightRMSpropTFLike | LightAdam):
            name = type(self).__name__
            raise ValueError(f"{name} needs optimizer_class=LightRMSpropTFLike or LightAdam.")
        return optimizer

    def _forget_graphs(self) -> None:
        """Capture anew at the next steps, because tensors that the graphs use were replaced."""
        self._grouped: VecEnv | None = None
        self._update = Captured(self._descend)
        self._estimate = Captured(self._estimate_returns)

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Load weights and the optimiser's state; see Stable-Baselines3."""
        super().set_parameters(*args, **kwargs)
        self._forget_graphs()

    def _excluded_save_params(self) -> list[str]:
        own = ["_grouped", "_groups", "_rollout", "_update", "_estimate", "_explained_variance"]
        return [*super()._excluded_save_params(), *own]

    def _open(self, env: VecEnv) -> list[Group]:
        """Return the groups of games, and make the rollout if the games are new."""
        if env is not self._grouped:
            self._forget_graphs()
            assert isinstance(self.observation_space, spaces.Box)
            assert isinstance(self.action_space, spaces.Discrete)
            n_envs, n_actions = env.num_envs, int(self.action_space.n)
            self._rollout = rollout = DeviceRollout(
                self.n_steps, n_envs, self.observation_space, n_actions, self.device
            )
            parts = [(env, slice(0, n_envs))]
            if isinstance(env, GroupedVecEnv):
                parts = list(zip(env.groups, env.slices, strict=True))
            self._groups = [Group(part, games, self.policy, rollout) for part, games in parts]
            self._grouped = env
        return self._groups

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Collect a rollout; see Stable-Baselines3, whose ``rollout_buffer`` stays empty."""
        assert isinstance(self._last_obs, np.ndarray)
        assert self._last_episode_starts is not None
        assert n_rollout_steps == self.n_steps
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        groups = self._open(env)
        rollout = self._rollout
        rollout.begin(self._last_episode_starts)
        try:
            for group in groups:
                group.observe(0, self._last_obs[group.games])
                group.start(0)
            for n_steps in range(n_rollout_steps):
                actions, rewards, dones, infos = self._finish(n_steps)
                new_obs, obs_tensor = rollout.images.numpy(), rollout.observations[n_steps]
                values, log_probs = rollout.values[n_steps, :, None], rollout.log_probs[n_steps]
                self.num_timesteps += env.num_envs
                callback.update_locals(locals())
                if not callback.on_step():
                    return False
                self._update_info_buffer(infos, dones)
                self._add_values_of_cut_episodes(rewards, dones, infos)
                rollout.record(n_steps, rewards, dones)
                self._last_obs, self._last_episode_starts = new_obs, dones
                # With one group, the step starts after the callbacks, as in Stable-Baselines3.
                groups[-1].start(n_steps + 1)
        finally:
            for group in groups:
                group.abandon()
        self._explained_variance = self._estimate(rollout.outcomes())["explained_variance"]
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _finish(self, step: int) -> Outcome:
        """Wait for the end of a step, in which all groups but the last start the next one."""
        outcomes = []
        for group in self._groups:
            outcomes.append(group.finish(step))
            if group is not self._groups[-1]:
                group.start(step + 1)
        actions, rewards, dones, infos = zip(*outcomes, strict=True)
        return Outcome(
            np.concatenate(actions),
            np.concatenate(rewards),
            np.concatenate(dones),
            list(chain(*infos)),
        )

    def _add_values_of_cut_episodes(
        self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]
    ) -> None:
        """Add the value of the last observation where a time limit ended an episode."""
        for i in np.flatnonzero(dones):
            last = infos[i].get("terminal_observation")
            if last is not None and infos[i].get("TimeLimit.truncated", False):
                with torch.no_grad():
                    value = self.policy.predict_values(self.policy.obs_to_tensor(last)[0])[0]
                rewards[i] += self.gamma * value.item()

    def _estimate_returns(self, outcomes: Tensor) -> Measures:
        explained = self._rollout.estimate(outcomes, self.gamma, self.gae_lambda)
        return {"explained_variance": explained}

    def train(self) -> None:
        """Update the policy with the rollout; see Stable-Baselines3, whose values are logged."""
        self.policy.set_training_mode(True)
        rate = self.lr_schedule(self._current_progress_remaining)
        self.logger.record("train/learning_rate", rate)
        self._optimizer.set_learning_rate(rate)
        # In a tensor, because a captured update cannot see other numbers that change.
        coefficients = torch.tensor(
            [self.ent_coef, self.vf_coef, *self._clip_ranges().values()], device=self.device
        )
        measures = [
            self._update(indices, coefficients)["measures"].clone() for indices in self._batches()
        ]
        # The only wait for the device.
        *rows, (explained, *_) = torch.stack(
            [*measures, self._explained_variance.expand_as(measures[0])]
        ).tolist()
        self._log(dict(zip(self._measures, np.transpose(rows), strict=True)))
        self.logger.record("train/explained_variance", explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _descend(self, indices: Tensor, coefficients: Tensor) -> Measures:
        """Take one gradient step.

        Args:
            indices: The samples, see `DeviceRollout.samples`.
            coefficients: ``ent_coef``, ``vf_coef`` and the values of `_clip_ranges`.
        """
        samples = self._rollout.samples(indices)
        distribution, values = actor_critic(self.policy, samples.observations)
        if self.normalize_advantage and len(indices) > 1:
            advantages = samples.advantages
            scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
            samples = samples._replace(advantages=scaled)
        ent_coef, vf_coef, *clip_ranges = coefficients.unbind()
        log_probs = distribution.log_prob(samples.actions)
        measures = self._policy_measures(samples, log_probs, clip_ranges)
        values = self._predictions(samples, values, clip_ranges)
        measures["value_loss"] = F.mse_loss(samples.returns, values)
        measures["entropy_loss"] = -distribution.entropy().mean()
        loss = measures[self._policy_loss] + ent_coef * measures["entropy_loss"]
        measures["loss"] = loss + vf_coef * measures["value_loss"]
        self.policy.optimizer.zero_grad()
        measures["loss"].backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return {"measures": torch.stack([measures[name] for name in self._measures]).detach()}

    def _clip_ranges(self) -> dict[str, float]:
        """Return the clip ranges by the name under which they are logged."""
        return {}

    @abstractmethod
    def _batches(self) -> list[Tensor]:
        """Return the indices of the samples of each gradient step."""

    @abstractmethod
    def _policy_measures(
        self, samples: Samples, log_probs: Tensor, clip_ranges: list[Tensor]
    ) -> Measures:
        """Return the loss of the policy, and measures of it that are logged.

        Args:
            samples: The batch.
            log_probs: The logarithms of the actions' present probabilities, ``[B]``.
            clip_ranges: The values of `_clip_ranges`.
        """

    def _predictions(self, samples: Samples, values: Tensor, clip_ranges: list[Tensor]) -> Tensor:
        """Return the values, ``[B]``, to compare with the returns."""
        return values

    @abstractmethod
    def _log(self, measures: dict[str, np.ndarray]) -> None:
        """Count the update, and log its measures, each ``[number of gradient steps]``."""


class CapturedA2C(_Captured, A2C):
    """A2C with CUDA graphs; arguments are those of ``A2C``, and see the module."""

    _measures = ("entropy_loss", "policy_loss", "value_loss")
    _policy_loss = "policy_loss"

    def _batches(self) -> list[Tensor]:
        return [torch.arange(self.n_steps * self.n_envs, device=self.device)]

    def _policy_measures(
        self, samples: Samples, log_probs: Tensor, clip_ranges: list[Tensor]
    ) -> Measures:
        return {self._policy_loss: -(samples.advantages * log_probs).mean()}

    def _log(self, measures: dict[str, np.ndarray]) -> None:
        self._n_updates += 1
        for name, (value,) in measures.items():
            self.logger.record(f"train/{name}", float(value))


class CapturedPPO(_Captured, PPO):
    """PPO with CUDA graphs; arguments are those of ``PPO`` without ``target_kl``."""

    _measures = (
        *("entropy_loss", "policy_gradient_loss", "value_loss"),
        *("approx_kl", "clip_fraction", "loss"),
    )
    _policy_loss = "policy_gradient_loss"

    def _check(self) -> None:
        super()._check()
        if self.target_kl is not None:
            raise ValueError("CapturedPPO does not support target_kl.")

    def _clip_ranges(self) -> dict[str, float]:
        ranges = {"clip_range": self.clip_range, "clip_range_vf": self.clip_range_vf}
        progress = self._current_progress_remaining
        # PPO replaces its arguments by schedules, but does not annotate that.
        return {n: x(progress) for n, x in ranges.items() if x is not None}  # type: ignore[operator]

    def _batches(self) -> list[Tensor]:
        # The batches of Stable-Baselines3, which orders samples by game, and draws from NumPy's
        # global generator.
        n_samples = self.n_steps * self.n_envs
        order = np.arange(n_samples).reshape(self.n_steps, self.n_envs).T.flatten()
        epochs = np.stack([np.random.permutation(order) for _ in range(self.n_epochs)])  # noqa: NPY002
        indices = torch.from_numpy(epochs).to(self.device)
        return [batch for epoch in indices for batch in epoch.split(self.batch_size)]

    def _policy_measures(
        self, samples: Samples, log_probs: Tensor, clip_ranges: list[Tensor]
    ) -> Measures:
        clip_range = clip_ranges[0]
        log_ratio = log_probs - samples.log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        gains = torch.min(samples.advantages * ratio, samples.advantages * clipped)
        return {
            self._policy_loss: -gains.mean(),
            "approx_kl": ((ratio - 1) - log_ratio).mean(),
            "clip_fraction": ((ratio - 1).abs() > clip_range).float().mean(),
        }

    def _predictions(self, samples: Samples, values: Tensor, clip_ranges: list[Tensor]) -> Tensor:
        if len(clip_ranges) == 1:
            return values
        change = (values - samples.values).clamp(-clip_ranges[1], clip_ranges[1])
        return samples.values + change

    def _log(self, measures: dict[str, np.ndarray]) -> None:
        self._n_updates += self.n_epochs
        steps_per_epoch = len(measures["loss"]) // self.n_epochs
        measures["approx_kl"] = measures["approx_kl"][-steps_per_epoch:]  # of the last epoch
        measures["loss"] = measures["loss"][-1:]
        for name, values in measures.items():
            self.logger.record(f"train/{name}", np.mean(values))
        for name, value in self._clip_ranges().items():
            self.logger.record(f"train/{name}", value)
