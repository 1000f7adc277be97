"""Make Atari environments with ale-py's C++ vector environment or SB3's classic wrappers."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium as gym
from ale_py import ALEInterface, LoggerMode
from gymnasium.wrappers import RenderCollection
from stable_baselines3.common import env_util
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecTransposeImage

from rl_coordconv.envs.games import GAMES, Backend, Protocol, game_name
from rl_coordconv.envs.vec_env import AtariVecEnv
from rl_coordconv.runs.config import UserError

_PROTOCOLS: dict[Protocol, dict[str, Any]] = {
    "classic": {"noop_max": 30, "action_repeat_probability": 0.0},  # Mnih et al. 2015
    "sticky": {"noop_max": 0, "action_repeat_probability": 0.25},  # Machado et al. 2018
}


def make_atari_env(
    game: str,
    n_envs: int = 1,
    *,
    protocol: Protocol = "classic",
    backend: Backend = "native",
    training: bool = True,
    seed: int | None = None,
    num_threads: int = 0,
    collect_frames: bool = False,
) -> VecEnv:
    """Make a vector environment of one game, for use with ``CnnPolicy``.

    Observations are four stacked frames, uint8 ``[n_envs, 4, 84, 84]``. A step is four emulator
    frames. Actions are the game's minimal set. A game is truncated after 108,000 frames (half an
    hour). Infos contain the score and length of every finished game: no ``Monitor`` is needed.

    Args:
        game: The game's name, in any spelling that `game_name` accepts.
        n_envs: Number of parallel games.
        protocol: ``classic``: up to 30 no-op frames start a game and, in training, a lost life ends
            an episode (Mnih et al. 2015). ``sticky``: each emulator frame repeats the last action
            with probability 0.25, and only the end of the game ends an episode (Machado et al.
            2018).
        backend: ``native`` for `AtariVecEnv`, which lists its differences from ``sb3``, the
            wrappers of Stable-Baselines3 in one process.
        training: Clip rewards to their sign and, with ``classic``, end episodes at lost lives. If
            False, an episode is a whole game and its rewards add up to the score.
        seed: Game i is seeded with seed + i; None for random seeds.
        num_threads: Threads of the native backend; 0 for one per core.
        collect_frames: With ``sb3``, let ``env_method("render")`` return every emulator frame of
            each game since the last call, in colour, uint8 ``[210, 160, 3]`` for most games.

    Raises:
        UserError: The game is unknown, or there are no games.
    """
    if n_envs < 1:
        raise UserError(f"n_envs must be at least 1, not {n_envs}.")
    name = game_name(game)
    settings = _PROTOCOLS[protocol] | {
        "terminal_on_life_loss": training and protocol == "classic",
        "clip_reward": training,
    }
    env: VecEnv
    if backend == "native":
        env = AtariVecEnv(GAMES[name], n_envs, num_threads=num_threads, **settings)
    else:
        # Equivalent to `<game>NoFrameskip-v4`, which ale-py registers for the older games only.
        make = partial(_make_game, f"ALE/{name}-v5", collect_frames)
        env = env_util.make_atari_env(make, n_envs, wrapper_kwargs=settings)
        env = VecTransposeImage(VecFrameStack(env, n_stack=4))
    env.seed(seed)
    return env


def _make_game(env_id: str, collect_frames: bool) -> gym.Env[Any, Any]:
    """Make one game with one frame per step and without sticky actions."""
    ALEInterface.setLoggerMode(LoggerMode.Error)  # ale-py does so only after printing a banner
    make = partial(gym.make, env_id, frameskip=1, repeat_action_probability=0.0)
    return RenderCollection(make(render_mode="rgb_array")) if collect_frames else make()
