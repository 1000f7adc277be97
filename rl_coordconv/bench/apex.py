"""Measure Ape-X beside RLlib's own Atari example, with as many environment runners."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn import calculate_rr_weights
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.wrappers.atari_wrappers import wrap_atari_for_new_api_stack
from ray.tune.registry import register_env

from rl_coordconv.bench.timing import Report, interleave, make_report, ratios, spreads
from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.apex.algorithm import replay_ratio, rllib_config
from rl_coordconv.experiments.apex.cluster import ray_cluster
from rl_coordconv.experiments.apex.train import make_env
from rl_coordconv.runs.device import use_device

EXAMPLE = "RLlib's example"

_WARM_UP = 1  # unmeasured rounds
_LEARNING_STARTS = 500  # steps; a benchmark cannot wait for 80,000
_REPLAY_SIZE = 20_000  # steps, so that all buffers fit into the memory of a small machine
# RLlib's timers, and the part of a round to which each belongs.
_PARTS = {
    "env_runner_sampling_timer": "games",
    "replay_buffer_add_data_timer": "replay",
    "replay_buffer_sampling_timer": "replay",
    "replay_buffer_update_prios_timer": "replay",
    "learner_update_timer": "updates",
    "synch_weights": "weights",
}
_PER_UPDATE = list(_PARTS)[2:5]  # the others are measured once per round


@dataclass(frozen=True)
class Block:
    """One measurement: steps per second, and the seconds of each part of a round."""

    speed: float
    seconds: Counter[str]


def run(repeats: int, device_name: str, extractor: str, runners: int, seconds: float) -> Report:
    """Measure trainings on Ms. Pac-Man, one at a time.

    Args:
        repeats: Number of measured rounds, at least 1.
        device_name: ``cpu``, or ``cuda`` for the updates.
        extractor: The image network of this package's trainings.
        runners: Number of environment runners of each training, at least 1.
        seconds: Length of one measurement.
    """
    device = str(use_device(device_name, 0))
    configs = {EXAMPLE: _example(device, runners), **_ours(device, extractor, runners)}
    # All runners exist at once, but only those of one training play at a time.
    with ray_cluster("local", num_cpus=runners * len(configs)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RLlib calls functions that it has deprecated
        trainings: dict[str, Any] = {name: each.build_algo() for name, each in configs.items()}
        try:
            for dqn in trainings.values():
                while _steps(dqn.train()) < _LEARNING_STARTS:
                    pass
            measurements = {name: partial(_block, dqn, seconds) for name, dqn in trainings.items()}
            blocks = interleave(measurements, repeats, _WARM_UP)
        finally:
            for dqn in trainings.values():
                dqn.stop()
    note = (
        f"{runners} environment runners; updates on {device}"
        + (f" with {torch.get_num_threads()} threads" if device == "cpu" else "")
        + f"; {extractor}. {EXAMPLE} is Rainbow on images of 64x64. The last columns are the"
        " shares of a round's time, by RLlib's timers."
    )
    speeds = {name: [block.speed for block in own] for name, own in blocks.items()}
    beside = ratios(speeds, EXAMPLE)
    parts = list(dict.fromkeys(_PARTS.values()))
    table, rows = [["training", "samples per step", "steps/s", "ratio", *parts]], []
    for name, speed in spreads(speeds).items():
        seconds_of = sum((block.seconds for block in blocks[name]), Counter[str]())
        shares = {part: seconds_of[part] / sum(seconds_of.values()) for part in parts}
        samples = replay_ratio(configs[name])
        table.append(
            [name, f"{samples:g}", f"{speed:.1f}", f"{beside[name]:.2f}"]
            + [f"{share:.0%}" for share in shares.values()]
        )
        numbers = {"steps_per_second": speed, "ratio": beside[name], "shares": shares}
        rows.append({"training": name, "samples_per_step": samples, **numbers})
    return make_report(repeats, {"device": device, "runners": runners, "rows": rows}, [table], note)


def _example(device: str, runners: int) -> DQNConfig:
    """Return the settings of RLlib's ``examples/algorithms/dqn/atari_dqn.py``, on this game.

    Frames are stacked by the wrapper: with Ray 2.60, the example's connectors fail in the learner.
    """
    register_env("MsPacman of RLlib", _example_game)
    config: DQNConfig = (
        DQNConfig()
        .environment("MsPacman of RLlib", clip_rewards=True)
        .env_runners(
            num_env_runners=runners,
            rollout_fragment_length=4,
            gym_env_vectorize_mode=gym.VectorizeMode.SYNC,
        )
        .learners(num_gpus_per_learner=int(device != "cpu"))
        .training(
            lr=6.25e-5,
            n_step=3,
            tau=1.0,
            train_batch_size=32,
            target_network_update_freq=32_000,
            replay_buffer_config={
                "type": "PrioritizedEpisodeReplayBuffer",
                "capacity": _REPLAY_SIZE,
                "alpha": 0.5,
                "beta": 0.4,
            },
            num_steps_sampled_before_learning_starts=_LEARNING_STARTS,
            noisy=True,
            num_atoms=51,
            v_min=-10.0,
            v_max=10.0,
            double_q=True,
            dueling=True,
        )
        .rl_module(
            model_config=DefaultModelConfig(
                vf_share_layers=True,
                conv_filters=[(16, 4, 2), (32, 4, 2), (64, 4, 2), (128, 4, 2)],
                conv_activation="relu",
                head_fcnet_hiddens=[256],
            )
        )
        .reporting(min_sample_timesteps_per_iteration=0)
        .debugging(log_level="ERROR")
    )
    return config


def _example_game(settings: Any) -> gym.Env[Any, Any]:
    game = gym.make(
        "ale_py:ALE/MsPacman-v5",
        frameskip=1,
        full_action_space=False,
        repeat_action_probability=0.0,
        render_mode="rgb_array",
    )
    wrapped: gym.Env[Any, Any] = wrap_atari_for_new_api_stack(game, dim=64, framestack=4)
    return wrapped


def _ours(device: str, extractor: str, runners: int) -> dict[str, DQNConfig]:
    """Return the settings of the preset ``quick``, and of one with the rounds of the example."""
    settings = {
        "preset": "quick",
        "extractor": extractor,
        "num_env_runners": runners,
        "learning_starts": _LEARNING_STARTS,
        "replay_size": _REPLAY_SIZE,
    }
    ratio = 32 / (4 * runners)  # one update after four steps of each runner
    rounds = {"n_envs": 1, "rollout_steps": 4, "batch_size": 32, "replay_ratio": ratio}
    return {
        "Ape-X, same rounds": _built(make_config("apex", **settings, **rounds), device),
        "Ape-X, quick": _built(make_config("apex", **settings), device),
    }


def _built(config: Any, device: str) -> DQNConfig:
    env = make_env(config)
    env.close()
    return rllib_config(config, device, env.observation_space, env.action_space, 0)


def _block(dqn: Any, seconds: float) -> Block:
    """Train for some seconds."""
    first, start = _steps(dqn.train()), time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        result = dqn.train()
    updates = calculate_rr_weights(dqn.config)[1]
    parts = Counter[str]()
    for timer, part in _PARTS.items():
        parts[part] += result["timers"][timer] * (updates if timer in _PER_UPDATE else 1)
    return Block((_steps(result) - first) / elapsed, parts)


def _steps(result: Any) -> int:
    return int(result["env_runners"]["num_env_steps_sampled_lifetime"])
