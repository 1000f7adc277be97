"""A policy and a rollout buffer for A2C that reuse the rollout's forward passes in the update.

Without them A2C on two cores is about 4% slower (``docs/performance.md``). The updates equal those
of ``"CnnPolicy"`` with the default buffer, up to rounding.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, RolloutBufferSamples
from torch import Tensor

from rl_coordconv.speedups.reuse import RecordedForward


class ReuseCnnPolicy(ActorCriticCnnPolicy):
    """A ``CnnPolicy`` for A2C that reuses the rollout's forward passes in the update.

        A2C(ReuseCnnPolicy, env, n_steps=5, rollout_buffer_class=OrderedRolloutBuffer,
            policy_kwargs=policy_kwargs("coordconv", reuse_steps=5))

    The update computes its own forward pass where the rollout's cannot be reused: with another
    buffer or ``n_steps``, or if images or weights changed in between.

    Args:
        observation_space: As for ``CnnPolicy``, like all further arguments.
        action_space: As for ``CnnPolicy``.
        reuse_steps: The ``n_steps`` of A2C.

    Raises:
        ValueError: Actor and critic have separate extractors, or the extractor has a layer that
            behaves differently in training, such as dropout or batch norm.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *args: Any,
        reuse_steps: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space, *args, **kwargs)
        if not self.share_features_extractor:
            raise ValueError("ReuseCnnPolicy needs share_features_extractor=True.")
        self._reuse_steps = reuse_steps
        self._recorded = RecordedForward(self.features_extractor, reuse_steps)

    def extract_features(
        self, obs: PyTorchObs, features_extractor: BaseFeaturesExtractor | None = None
    ) -> Tensor:
        """Compute features ``[B, features_dim]`` of images ``[B, C, H, W]``; record or reuse them.

        Evaluation does not interfere, because ``predict`` and ``predict_values`` call the method of
        Stable-Baselines3's base class instead.
        """
        assert isinstance(obs, Tensor)

        def extract(images: Tensor) -> Tensor:
            features = super(ReuseCnnPolicy, self).extract_features(images, features_extractor)
            assert isinstance(features, Tensor)
            return features

        # In this order, because torch.compile cannot trace `is_inference_mode_enabled`.
        if _is_traced(obs) or torch.is_inference_mode_enabled():
            return extract(obs)
        if torch.is_grad_enabled():
            return self._recorded.replay(extract, obs)
        return self._recorded.record(extract, obs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "reuse_steps": self._reuse_steps}


def _is_traced(images: Tensor) -> bool:
    """Return whether a compiler or exporter is tracing this call, so that it is not a rollout."""
    # Torch does not annotate `is_tracing`.
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or type(images) is not Tensor
    )


class OrderedRolloutBuffer(RolloutBuffer):
    """A rollout buffer that returns A2C's single batch in the order of the steps, without copies.

    The loss, a mean over the batch, does not depend on the order, up to rounding.
    """

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """Yield the whole rollout in order, or shuffled batches if ``batch_size`` is given."""
        if batch_size is not None or self.generator_ready:
            yield from super().get(batch_size)
            return
        actions = self.actions.astype(np.float32)  # as in RolloutBuffer
        estimates = (self.values, self.log_probs, self.advantages, self.returns)
        columns = (self.observations, actions, *estimates)
        whole = (column.reshape(-1, *column.shape[2:]) for column in columns)
        yield RolloutBufferSamples(*(self.to_torch(column, copy=False) for column in whole))
