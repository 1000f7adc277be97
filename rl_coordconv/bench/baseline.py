"""Plain Stable-Baselines3 on Ms. Pac-Man, with the hyperparameters of rl-zoo3 2.9.2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecFrameStack

VEC_ENVS: dict[str, type[DummyVecEnv] | type[SubprocVecEnv]] = {
    "DummyVecEnv": DummyVecEnv,
    "SubprocVecEnv": SubprocVecEnv,
}


def main(argv: Sequence[str]) -> None:
    """Train until the process is killed.

    Args:
        argv: ``a2c`` or ``ppo``, a name in `VEC_ENVS`, and torch's threads (0 for one per core).
    """
    algorithm, vec_env, num_threads = argv
    if int(num_threads):
        torch.set_num_threads(int(num_threads))
    games = make_atari_env(
        "ale_py:MsPacmanNoFrameskip-v4",  # the prefix registers the games in every process
        n_envs=16 if algorithm == "a2c" else 8,
        seed=0,
        vec_env_cls=VEC_ENVS[vec_env],
    )
    env = VecFrameStack(games, n_stack=4)
    model: A2C | PPO
    if algorithm == "a2c":
        optimizer = {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
        model = A2C("CnnPolicy", env, ent_coef=0.01, vf_coef=0.25, policy_kwargs=optimizer)
    else:
        model = PPO(
            "CnnPolicy",
            env,
            n_steps=128,
            n_epochs=4,
            batch_size=256,
            learning_rate=LinearSchedule(2.5e-4, 0, 1),
            clip_range=LinearSchedule(0.1, 0, 1),
            vf_coef=0.5,
            ent_coef=0.01,
        )
    model.learn(10**9)
