"""Choosing actions on the training device, for `captured`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.distributions import Categorical

from rl_coordconv.runs.capture import Captured
from rl_coordconv.speedups.device_rollout import DeviceRollout


def actor_critic(policy: ActorCriticPolicy, observations: Tensor) -> tuple[Categorical, Tensor]:
    """Compute the distribution of actions and the values, ``[B]``, of observations ``[B, ...]``.

    The distribution is SB3's without its check for NaN, which would wait for the device.
    """
    latent_pi, latent_vf = policy.mlp_extractor(policy.extract_features(observations))
    logits, values = policy.action_net(latent_pi), policy.value_net(latent_vf)
    return Categorical(logits=logits, validate_args=False), values.flatten()


class Outcome(NamedTuple):
    """The actions and outcomes of a step of some games."""

    actions: NDArray[np.int64]
    rewards: NDArray[np.float32]
    dones: NDArray[np.bool_]
    infos: list[dict[str, Any]]


class Group:
    """Games that step together, and the captured function that chooses their actions.

    Args:
        env: The games.
        games: Their columns in the rollout.
        policy: The policy.
        rollout: Where to write observations, actions, values and log-probabilities.
    """

    def __init__(
        self, env: VecEnv, games: slice, policy: ActorCriticPolicy, rollout: DeviceRollout
    ) -> None:
        self.games = games
        self._env, self._policy, self._rollout = env, policy, rollout
        self._images = rollout.images[games]
        # The number of the step is in a tensor, because a captured function cannot see others.
        self._steps = torch.arange(rollout.n_steps + 1, device=rollout.device)[:, None]
        self._act = Captured(self._choose)
        self._is_stepping = False

    def observe(self, step: int, observations: NDArray[Any]) -> None:
        """Copy the observations of a step to the device."""
        np.copyto(self._images.numpy(), observations)
        row = self._rollout.observations[step, self.games]
        row.copy_(self._images, non_blocking=True)

    def start(self, step: int) -> None:
        """Choose actions for the observations of a step, and start it.

        After the last step of the rollout, only compute the values.
        """
        chosen = self._act(self._steps[step])["actions"]
        if step == self._rollout.n_steps:
            return
        self._taken = chosen.cpu().numpy()  # waits for the device
        self._env.step_async(self._taken)
        self._is_stepping = True

    def finish(self, step: int) -> Outcome:
        """Wait for the end of a step, and copy the next observations to the device."""
        self._is_stepping = False
        observations, rewards, dones, infos = self._env.step_wait()
        assert isinstance(observations, np.ndarray)
        self.observe(step + 1, observations)
        return Outcome(self._taken, rewards, dones, infos)

    def abandon(self) -> None:
        """Wait for the end of a step that nobody wants, if one has started."""
        if self._is_stepping:
            self._is_stepping = False
            self._env.step_wait()

    @torch.no_grad()
    def _choose(self, step: Tensor) -> dict[str, Tensor]:
        """Choose the actions of a step, as ``torch.multinomial`` does; ``step`` is ``[1]``."""
        rollout, games = self._rollout, self.games
        observations, noise = (
            x[:, games].index_select(0, step)[0] for x in (rollout.observations, rollout.noise)
        )
        distribution, values = actor_critic(self._policy, observations)
        actions = (distribution.probs / noise).argmax(-1)
        for column, row in (
            (rollout.actions, actions),
            (rollout.values, values),
            (rollout.log_probs, distribution.log_prob(actions)),
        ):
            column[:, games].index_copy_(0, step, row[None])
        return {"actions": actions}
