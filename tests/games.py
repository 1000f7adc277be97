"""A small image game, shared by tests."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class WhereIsTheSquare(gym.Env):
    """A game of one step: choose the quadrant with the white 5x5 square for a reward of 1.

    Random actions earn 0.25 on average, the best policy 1.
    """

    SIDE = 36  # the smallest size for the Nature network

    def __init__(self, n_channels: int = 1, with_vector: bool = False) -> None:
        shape = (n_channels, self.SIDE, self.SIDE)
        image = spaces.Box(0, 255, shape, np.uint8)
        vector = spaces.Box(-1, 1, (3,), np.float32)
        self.observation_space = (
            spaces.Dict({"image": image, "vector": vector}) if with_vector else image
        )
        self.action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        reward = float(action == self._quadrant)
        return self._draw(), reward, True, False, {}

    def _draw(self) -> Any:
        row, column = self.np_random.integers(0, self.SIDE - 5, size=2)
        image_space = self.observation_space
        if isinstance(image_space, spaces.Dict):
            image_space = image_space["image"]
        image = np.zeros(image_space.shape, np.uint8)
        image[:, row : row + 5, column : column + 5] = 255
        self._quadrant = 2 * int(row + 2 >= self.SIDE / 2) + int(column + 2 >= self.SIDE / 2)
        if isinstance(self.observation_space, spaces.Dict):
            return {"image": image, "vector": np.zeros(3, np.float32)}
        return image
