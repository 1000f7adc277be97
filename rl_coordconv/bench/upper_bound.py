"""The two parts of the upper bound: playing the games, and running the network.

Each part is measured separately, with the settings of a training run but without optimiser, loss or
logging. The network part includes the update's forward pass, which our A2C reuses from the rollout,
so A2C could exceed this bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from rl_coordconv.bench.candidate import between_updates
from rl_coordconv.bench.envs import ale_games, play
from rl_coordconv.experiments.atari.config import A2CConfig, AtariConfig, PPOConfig
from rl_coordconv.experiments.atari.train import make_env, make_model
from rl_coordconv.runs.command_line import one_sentence_errors, parse_args
from rl_coordconv.runs.device import use_device

_CONFIGS: dict[str, type[AtariConfig]] = {"a2c": A2CConfig, "ppo": PPOConfig}


def upper_bound(environments: float, network: float, *, overlap: bool) -> float:
    """Return the steps per second of training that only plays the games and runs the network.

    Args:
        environments: Steps per second of the games.
        network: Steps per second of the network.
        overlap: Whether both run at the same time, on different devices; if not, add their times.
    """
    if overlap:
        return min(environments, network)
    return 1 / (1 / environments + 1 / network)


def batches(config: AtariConfig) -> list[int]:
    """Return the batch size of each gradient step of an update."""
    rollout = config.n_envs * config.n_steps
    if isinstance(config, PPOConfig):
        return [config.batch_size] * (config.n_epochs * rollout // config.batch_size)
    return [rollout]


def environments(config: AtariConfig) -> Callable[[], None]:
    """Return a function that plays one rollout with random actions."""
    games = ale_games(config.env, config.n_envs, config.num_threads)
    games.reset(seed=config.seed)
    play_steps = play(games.step, games.single_action_space, config.n_envs)
    return lambda: play_steps(config.n_steps)


def network(config: AtariConfig) -> Callable[[], None]:
    """Return a function that runs the network for one rollout and its update."""
    device = use_device(config.device, config.num_threads)
    env = make_env(config)
    policy = make_model(config, env, str(device)).policy
    env.close()

    def draw(space: gym.Space[Any], n: int) -> torch.Tensor:
        return torch.as_tensor(np.stack([space.sample() for _ in range(n)]), device=device)

    seen = draw(env.observation_space, config.n_envs)
    samples = [(draw(env.observation_space, n), draw(env.action_space, n)) for n in batches(config)]

    def update() -> None:
        with torch.no_grad():
            for _ in range(config.n_steps):
                policy(seen)
            policy.predict_values(seen)  # for the observation after the last step
        for batch, actions in samples:
            policy.zero_grad()
            values, log_probs, entropy = policy.evaluate_actions(batch, actions)
            assert entropy is not None  # categorical actions have one
            (values.sum() + log_probs.sum() + entropy.sum()).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return update


PARTS = {"environments": environments, "network": network}


def main(argv: Sequence[str]) -> None:
    """Run a part until the process is killed.

    Args:
        argv: A name in `PARTS`, ``a2c`` or ``ppo``, the YAML file of its settings, and flags that
            override them.
    """
    part, algorithm, file, *flags = argv
    with one_sentence_errors():
        config, _ = parse_args(_CONFIGS[algorithm], Path(file), part, flags)
    update = PARTS[part](config)
    steps = 0
    while True:
        between_updates(steps)
        update()
        steps += config.n_envs * config.n_steps
