"""The network as an ``RLModule``, the learner's optimiser, and the runners' exploration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.algorithms.dqn.default_dqn_rl_module import QF_PREDS
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.dqn.torch.dqn_torch_learner import DQNTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from torch import Tensor, nn

from rl_coordconv.envs.vector import AtariGames
from rl_coordconv.experiments.apex.exploration import runner_ladder
from rl_coordconv.experiments.apex.network import DuelingNetwork
from rl_coordconv.runs.checkpoint import derived_seed

Batch = dict[str, Any]
_RUNNERS = 4  # the stream of the seeds of environment runners


class ApexModule(DefaultDQNTorchRLModule):
    """A `DuelingNetwork` as a module of RLlib's DQN.

    ``model_config`` has the network's ``extractor``, ``hidden`` and ``precision``. Each row of a
    batch of exploration is of one game, which explores with its own rate, see `set_exploration`.
    """

    def setup(self) -> None:
        """Build the network; RLlib calls this in the constructor."""
        self.uses_dueling, self.uses_double_q, self.num_atoms = True, True, 1
        settings: Any = self.model_config
        assert isinstance(self.observation_space, spaces.Box)
        assert isinstance(self.action_space, spaces.Discrete)
        self.network = DuelingNetwork(
            settings["extractor"],
            self.observation_space.shape,
            int(self.action_space.n),
            settings["hidden"],
            settings["precision"],
        )
        self._epsilons: Tensor | None = None

    def set_exploration(self, epsilons: list[float]) -> None:
        """Set the share of random actions of each game, from 0 to 1."""
        self._epsilons = torch.tensor(epsilons)

    def get_non_inference_attributes(self) -> list[str]:
        """Return the parts that are not needed for inference."""
        return ["_target_network"]

    def make_target_networks(self) -> None:
        """Copy the network."""
        self._target_network = make_target_network(self.network)

    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Return the network and its target network."""
        return [(self.network, self._target_network)]

    def compute_q_values(self, batch: Batch) -> Batch:
        """Compute Q-values of observations, uint8 ``[B, 4, 84, 84]``."""
        return {QF_PREDS: self.network(batch[Columns.OBS])}

    def forward_target(self, batch: Batch) -> Batch:
        """Compute Q-values with the target network."""
        return {QF_PREDS: self._target_network(batch[Columns.OBS])}

    def get_initial_state(self) -> Batch:
        """Return nothing: the network is not recurrent."""
        return {}

    def _forward_inference(self, batch: Batch, **_: Any) -> Batch:
        return {Columns.ACTIONS: self.compute_q_values(batch)[QF_PREDS].argmax(dim=1)}

    def _forward_exploration(self, batch: Batch, t: int = 0, **_: Any) -> Batch:
        assert self._epsilons is not None
        q_values = self.compute_q_values(batch)[QF_PREDS]
        n_games, n_actions = q_values.shape
        assert n_games == len(self._epsilons)
        random = torch.randint(n_actions, (n_games,), device=q_values.device)
        explores = torch.rand(n_games) < self._epsilons
        return {
            Columns.ACTIONS: torch.where(
                explores.to(q_values.device), random, q_values.argmax(dim=1)
            )
        }

    def _qf_forward_helper(self, *_: Any) -> Batch:
        raise NotImplementedError  # only the methods that are replaced above call it


class ApexLearner(DQNTorchLearner):
    """RLlib's learner of DQN, with the epsilon of Adam that its config has but does not use."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Create Adam; RLlib sets its learning rate."""
        assert self._module is not None
        parameters = self.get_parameters(self._module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, eps=config.adam_epsilon),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )


class ApexRunner(SingleAgentEnvRunner):
    """RLlib's environment runner, whose games have their own seeds and rates of exploration."""

    def make_module(self) -> None:
        """Build the module, and give its games their rates."""
        super().make_module()  # type: ignore[no-untyped-call]  # RLlib's has no annotations
        if self.env is None:
            return
        config: Any = self.config
        ladder = runner_ladder(self.worker_index, config.num_env_runners, self.num_envs)
        assert isinstance(self.module, ApexModule)
        self.module.set_exploration(ladder)
        # RLlib's seeds would be the same for the second game of a runner and the first of the next.
        self._seed = derived_seed(config.seed, _RUNNERS, self.worker_index)


class RunnerGames(AtariGames):
    """The games of a runner, which RLlib creates from its ``env_config``."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings["game"], settings["num_envs"], protocol=settings["protocol"])


def log_game(*, episode: Any, metrics_logger: Any, **_: Any) -> None:
    """Log the raw score and length of a game at the end of its last episode, as a callback."""
    info = episode.get_infos(-1)
    if "game_return" in info:
        for name in ("game_return", "game_frames"):
            metrics_logger.log_value(name, float(info[name]), reduce="item_series")
