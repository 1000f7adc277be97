"""A Gymnasium ``VectorEnv`` of Atari games, for libraries other than Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.games import Protocol

Step = tuple[
    NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]


class AtariGames(gym.vector.VectorEnv[NDArray[np.uint8], NDArray[Any], NDArray[Any]]):
    """The games of `make_atari_env` with Gymnasium's autoreset in the next step.

    The step after the end of an episode ignores the action and returns the first observation of the
    next episode, with reward 0. Each game is an `AtariVecEnv` of one, and so the same step by step:
    such a game can wait, as the games inside one `AtariVecEnv` cannot.

    At the end of a game, not of a life, ``info`` has ``game_return``, the raw score, and
    ``game_frames``, the length in emulator frames, with Gymnasium's masks ``_game_return`` and
    ``_game_frames``.

    Args:
        game: As for `make_atari_env`, like ``protocol`` and ``training``.
        num_envs: Number of parallel games.
        protocol: ``classic`` or ``sticky``.
        training: Clip rewards and, with ``classic``, end episodes at lost lives.
    """

    def __init__(
        self, game: str, num_envs: int, *, protocol: Protocol = "classic", training: bool = True
    ) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self._games = [
            make_atari_env(game, protocol=protocol, training=training, num_threads=1)
            for _ in range(num_envs)
        ]
        self.single_observation_space = self._games[0].observation_space
        self.single_action_space = self._games[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        # The first observations of the episodes that the next step begins.
        self._first: list[NDArray[np.uint8] | None] = [None] * num_envs

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Start new games; with a number as ``seed``, game i is seeded with seed + i.

        Returns:
            Observations, uint8 ``[num_envs, 4, 84, 84]``, and an empty info.
        """
        if seed is None or isinstance(seed, int):
            seed = [None if seed is None else seed + i for i in range(self.num_envs)]
        self._first = [None] * self.num_envs
        observations: list[Any] = []
        for game, its_seed in zip(self._games, seed, strict=True):
            game.seed(its_seed)
            observations.append(game.reset())
        return np.concatenate(observations), {}

    def step(self, actions: NDArray[Any]) -> Step:
        """Step all games, whose emulators run in parallel.

        Args:
            actions: ``[num_envs]``.

        Returns:
            Observations, uint8 ``[num_envs, 4, 84, 84]``; rewards, float32 ``[num_envs]``;
            terminated and truncated, bool ``[num_envs]``; infos.
        """
        n = self.num_envs
        running = [i for i in range(n) if self._first[i] is None]
        observations: list[Any] = self._first
        self._first = [None] * n
        rewards = np.zeros(n, dtype=np.float32)
        terminated, truncated = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        infos: dict[str, Any] = {}
        for i in running:
            self._games[i].step_async(np.asarray(actions)[i : i + 1])
        for i in running:
            (observation,), (rewards[i],), (done,), (info,) = self._games[i].step_wait()
            observations[i] = info["terminal_observation"] if done else observation
            if done:
                self._first[i] = np.asarray(observation)
                truncated[i] = info["TimeLimit.truncated"]
                terminated[i] = not truncated[i]
            if episode := info.get("episode"):
                game = {"game_return": episode["r"], "game_frames": float(episode["l"])}
                infos = self._add_info(infos, game, i)
        return np.stack(observations), rewards, terminated, truncated, infos

    def close_extras(self, **_: Any) -> None:
        """Stop the emulators."""
        for game in self._games:
            game.close()
