"""A rollout in tensors on the training device, for `captured`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor


class Samples(NamedTuple):
    """Some steps of a rollout: each tensor's first dimension is the batch."""

    observations: Tensor
    actions: Tensor
    values: Tensor
    log_probs: Tensor
    advantages: Tensor
    returns: Tensor


def gae(
    rewards: Tensor, values: Tensor, episode_starts: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Compute generalised advantages with the arithmetic of SB3's ``RolloutBuffer``.

    Args:
        rewards: ``[T, N]``, of T steps in N games.
        values: ``[T + 1, N]``; the last are those of the observations after the rollout.
        episode_starts: ``[T + 1, N]``, 1 where an observation is the first of an episode, else 0.
        gamma: Discount factor.
        gae_lambda: Lambda of generalised advantage estimation (Schulman et al. 2016).

    Returns:
        The advantages, ``[T, N]``.
    """
    continues = 1.0 - episode_starts[1:]
    deltas = rewards + gamma * values[1:] * continues - values[:-1]
    decays = gamma * gae_lambda * continues
    advantages = [deltas[-1]]
    for delta, decay in zip(deltas[:-1].flip(0), decays[:-1].flip(0), strict=True):
        advantages.append(delta + decay * advantages[-1])
    return torch.stack(advantages[::-1])


class DeviceRollout:
    """One rollout of all games.

    The last row of most tensors is the observation after the rollout, of which only the value is
    used. The tensors are overwritten by the next rollout, and stay where they are in memory.

    Args:
        n_steps: Steps per game.
        n_envs: Number of games.
        observation_space: Space of one game's observations.
        n_actions: Number of actions.
        device: Where the tensors are.

    Attributes:
        observations: ``[n_steps + 1, n_envs, ...]``.
        noise: Exponential noise that chooses the actions, ``[n_steps + 1, n_envs, n_actions]``.
        actions: int64, ``[n_steps + 1, n_envs]``, as the following.
        values: Values of the observations.
        log_probs: Logarithms of the actions' probabilities.
        advantages: ``[n_steps, n_envs]``.
        returns: ``[n_steps, n_envs]``.
        images: The newest observations, ``[n_envs, ...]``, in memory of the CPU.
    """

    def __init__(
        self,
        n_steps: int,
        n_envs: int,
        observation_space: spaces.Box,
        n_actions: int,
        device: torch.device,
    ) -> None:
        self.n_steps, self.device = n_steps, device
        on_gpu = device.type == "cuda"
        shape = (n_envs, *observation_space.shape)
        # From pinned memory, copies to a GPU are asynchronous.
        images = torch.from_numpy(np.zeros(shape, observation_space.dtype))
        self.images = images.pin_memory() if on_gpu else images
        self._outcomes = torch.zeros(2, n_steps + 1, n_envs, pin_memory=on_gpu)
        rows = (n_steps + 1, n_envs)
        self.observations = torch.zeros(n_steps + 1, *shape, dtype=images.dtype, device=device)
        self.noise = torch.ones(*rows, n_actions, device=device)
        self.actions = torch.zeros(rows, dtype=torch.int64, device=device)
        self.values, self.log_probs = (torch.zeros(rows, device=device) for _ in range(2))
        self.advantages = torch.zeros(n_steps, n_envs, device=device)
        self.returns = torch.zeros_like(self.advantages)

    def begin(self, episode_starts: NDArray[np.bool_]) -> None:
        """Draw the noise of a rollout, from the random numbers that SB3's policy would use.

        Args:
            episode_starts: Whether the first observations begin an episode, ``[n_envs]``.
        """
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # copies of the last rollout
        for noise in self.noise[:-1]:  # one call per step, as of torch.multinomial
            noise.exponential_()
        self._outcomes[1, 0] = torch.from_numpy(episode_starts)

    def record(self, step: int, rewards: NDArray[np.float32], dones: NDArray[np.bool_]) -> None:
        """Record the outcomes of a step, each ``[n_envs]``."""
        self._outcomes[0, step] = torch.from_numpy(rewards)
        self._outcomes[1, step + 1] = torch.from_numpy(dones)

    def outcomes(self) -> Tensor:
        """Return the recorded rewards and episode starts on the device, for `estimate`."""
        return self._outcomes.to(self.device, non_blocking=True)

    def estimate(self, outcomes: Tensor, gamma: float, gae_lambda: float) -> Tensor:
        """Compute advantages and returns, and return the explained variance of the values."""
        rewards, episode_starts = outcomes[0, :-1], outcomes[1]
        advantages = gae(rewards, self.values, episode_starts, gamma, gae_lambda)
        self.advantages.copy_(advantages)
        returns = advantages + self.values[:-1]
        self.returns.copy_(returns)
        variance = returns.var(correction=0)
        explained = 1 - advantages.var(correction=0) / variance
        return explained.masked_fill(variance == 0, torch.nan)

    def samples(self, indices: Tensor) -> Samples:
        """Return the samples with these indices, ``step * n_envs + game``."""
        columns = (self.observations, self.actions, self.values, self.log_probs)
        steps = (*(x[:-1] for x in columns), self.advantages, self.returns)
        return Samples(*(x.flatten(0, 1).index_select(0, indices) for x in steps))
