"""Stable-Baselines3's ``CnnPolicy`` in fewer operations."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.type_aliases import PyTorchObs, RolloutBufferSamples
from torch import Tensor

from rl_coordconv.extractors import CoordExtractor
from rl_coordconv.speedups.reuse import KeptForward


class LeanCnnPolicy(ActorCriticCnnPolicy):
    """``CnnPolicy`` for discrete actions: the same but for rounding, with less to do.

        model = PPO(LeanCnnPolicy, env, policy_kwargs=policy_kwargs("coordconv"))

    A rollout asks the network about a few images at a time, and the emulators have emptied the
    caches before. Then every operation counts, however small: images are scaled in place, and one
    softmax serves the action, its probability and the entropy.

    Args:
        observation_space: As for ``CnnPolicy``; and so are the further arguments.
        action_space: Discrete.
        reuse_steps: The ``n_steps`` of A2C, whose update then takes the rollout's forward passes
            instead of computing them again. Where that cannot be, it computes them: without
            `WholeRolloutBuffer`, with another ``n_steps``, in PPO, with a single environment.

    Raises:
        ValueError: The actions are not discrete, actor and critic have extractors of their own, or
            the extractor computes something else in training than in playing.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        reuse_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space, *args, **kwargs)
        if not isinstance(action_space, spaces.Discrete) or not self.share_features_extractor:
            raise ValueError(
                "LeanCnnPolicy needs discrete actions and one extractor for actor and critic;"
                " take CnnPolicy."
            )
        self._scales = self.normalize_images and is_image_space(observation_space)
        self._reuse_steps = reuse_steps
        self._kept = KeptForward(self.features_extractor, reuse_steps) if reuse_steps else None

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Choose actions for observations [B, C, H, W], a step of the rollout.

        Returns:
            Actions [B], values [B, 1], the actions' log-probabilities [B].
        """
        playing = not torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        if self._kept and playing:
            features = self._kept.record(self._features, obs)
        else:
            features = self._features(obs)
        values, log_probs = self._heads(features)
        if deterministic:
            actions = log_probs.argmax(dim=1, keepdim=True)
        else:
            actions = torch.multinomial(log_probs.exp(), 1)
        return actions.squeeze(1), values, log_probs.gather(1, actions).squeeze(1)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge actions [B] that were taken at observations [B, C, H, W].

        Returns:
            Values [B, 1], the actions' log-probabilities [B], the distributions' entropies [B].
        """
        assert isinstance(obs, Tensor)
        if self._kept and torch.is_grad_enabled():
            features = self._kept.replay(self._features, obs)
        else:
            features = self._features(obs)
        values, log_probs = self._heads(features)
        entropy = -(log_probs.exp() * log_probs).sum(dim=1)
        return values, log_probs.gather(1, actions[:, None]).squeeze(1), entropy

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values [B, 1] of observations [B, C, H, W]."""
        assert isinstance(obs, Tensor)
        values: Tensor = self.value_net(self.mlp_extractor.forward_critic(self._features(obs)))
        return values

    def _features(self, obs: Tensor) -> Tensor:
        extractor = self.features_extractor
        if self._scales:
            in_bf16 = isinstance(extractor, CoordExtractor) and extractor.precision == "bf16"
            dtype = torch.bfloat16 if in_bf16 else torch.float32
            images = obs.to(dtype, copy=True).mul_(1 / 255)
        else:
            images = obs.float()
        features: Tensor = extractor(images)
        return features

    def _heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        latent_pi, latent_vf = self.mlp_extractor(features)
        return self.value_net(latent_vf), self.action_net(latent_pi).log_softmax(dim=1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "reuse_steps": self._reuse_steps}


class WholeRolloutBuffer(RolloutBuffer):
    """A rollout buffer that gives A2C its one batch as it was played, without shuffling or copies.

    The mean over a batch does not depend on its order, but for rounding.
    """

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Batches, shuffled; or all in order, step by step, as tensors that share the memory."""
        if batch_size is not None or self.generator_ready:
            yield from super().get(batch_size)
            return
        actions = self.actions.astype(np.float32)  # as in every RolloutBuffer
        judged = (self.values, self.log_probs, self.advantages, self.returns)
        columns = (self.observations, actions, *judged)
        whole = (column.reshape(-1, *column.shape[2:]) for column in columns)
        yield RolloutBufferSamples(*(self.to_torch(column, copy=False) for column in whole))
