"""Several vector environments as one, of which each can step while others wait for actions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn


class GroupedVecEnv(VecEnv):
    """The games of several vector environments, in their order.

    Any algorithm can use it. Those of `captured` choose the actions of one group while the others
    are emulated, if the groups' ``step_async`` returns before the step is done. Game i has the same
    seed as in a single vector environment of all games.

    Args:
        groups: The vector environments, with equal spaces.
    """

    def __init__(self, groups: Sequence[VecEnv]) -> None:
        self.groups = list(groups)
        ends = list(accumulate(group.num_envs for group in self.groups))
        self.slices = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        """The games of each group."""
        first = self.groups[0]
        super().__init__(ends[-1], first.observation_space, first.action_space)

    def reset(self) -> NDArray[Any]:
        """Start new games, and return their first observations, ``[n_envs, ...]``."""
        observations = [np.asarray(group.reset()) for group in self.groups]
        self._take_reset_infos()
        return np.concatenate(observations)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Start a step of all games, with actions ``[n_envs, ...]``."""
        for group, games in zip(self.groups, self.slices, strict=True):
            group.step_async(actions[games])

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the end of the step; see ``VecEnv.step_wait``."""
        observations, rewards, dones, infos = zip(
            *(g.step_wait() for g in self.groups), strict=True
        )
        self._take_reset_infos()
        return (
            np.concatenate(observations),
            np.concatenate(rewards),
            np.concatenate(dones),
            list(chain(*infos)),
        )

    def _take_reset_infos(self) -> None:
        self.reset_infos = list(chain(*(group.reset_infos for group in self.groups)))

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed game i with seed + i."""
        starts = [None if seed is None else seed + games.start for games in self.slices]
        pairs = zip(self.groups, starts, strict=True)
        return list(chain(*(group.seed(start) for group, start in pairs)))

    def set_options(self, options: Any = None) -> None:
        """Set options for the next reset: a dict for all games, or a list with one for each."""
        for group, games in zip(self.groups, self.slices, strict=True):
            group.set_options(options[games] if isinstance(options, list) else options)

    def close(self) -> None:
        """Close all groups."""
        for group in self.groups:
            group.close()

    def _find(self, indices: VecEnvIndices) -> list[tuple[VecEnv, int]]:
        """Return the group of each game, and the game's index in it."""
        places = [(group, i) for group in self.groups for i in range(group.num_envs)]
        return [places[i] for i in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each game."""
        return [group.get_attr(attr_name, i)[0] for group, i in self._find(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of each game."""
        for group, i in self._find(indices):
            group.set_attr(attr_name, value, i)

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call a method of each game."""
        places = self._find(indices)
        return [g.env_method(method_name, *args, indices=i, **kwargs)[0] for g, i in places]

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """Return whether each game has a wrapper."""
        return [group.env_is_wrapped(wrapper_class, i)[0] for group, i in self._find(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return an image of each game; None for games that are not rendered."""
        return list(chain(*(group.get_images() for group in self.groups)))
