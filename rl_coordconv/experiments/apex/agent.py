"""The trained agent as a Stable-Baselines3 DQN, which evaluates it and saves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import CnnPolicy, QNetwork
from torch import Tensor

from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.experiments.apex.network import DuelingHead
from rl_coordconv.extractors import policy_kwargs


class DuelingQNetwork(QNetwork):
    """Stable-Baselines3's Q-network with a `DuelingHead`; ``net_arch`` is its hidden layer."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        (hidden,) = self.net_arch
        assert isinstance(self.action_space, spaces.Discrete)
        # Stable-Baselines3 annotates it as a Sequential.
        self.q_net = DuelingHead(self.features_dim, int(self.action_space.n), hidden)  # type: ignore[assignment]

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Compute Q-values ``[B, n_actions]``."""
        assert self.features_extractor is not None
        q_values: Tensor = self.q_net(self.extract_features(obs, self.features_extractor))
        return q_values


class DuelingPolicy(CnnPolicy):
    """A policy for ``DQN`` with a `DuelingQNetwork`."""

    def make_q_net(self) -> DuelingQNetwork:
        """Return a new network."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        return DuelingQNetwork(**arguments).to(self.device)


def make_agent(config: ApexConfig, env: VecEnv, device: str) -> DQN:
    """Return an untrained agent that plays with ``eval_epsilon`` random actions."""
    agent = DQN(
        DuelingPolicy,
        env,
        buffer_size=1,  # RLlib's replay buffer is used
        gamma=config.gamma,
        exploration_initial_eps=config.eval_epsilon,
        exploration_final_eps=config.eval_epsilon,
        policy_kwargs=policy_kwargs(
            config.extractor,
            net_arch=[config.hidden],
            features_extractor_kwargs={"precision": config.precision},
        ),
        device=device,
    )
    agent.exploration_rate = config.eval_epsilon
    return agent


def load_weights(agent: DQN, weights: Mapping[str, Tensor], step: int) -> None:
    """Give the agent the weights of a `DuelingNetwork` after a number of training steps."""
    renamed = {
        name.replace("features.", "features_extractor.", 1).replace("head.", "q_net.", 1): value
        for name, value in weights.items()
    }
    for network in (agent.policy.q_net, agent.policy.q_net_target):
        network.load_state_dict(renamed)
    agent.num_timesteps = step
