"""A Stable-Baselines3 ``VecEnv`` that wraps ale-py's C++ vector environment.

Emulation, frame skipping, resizing and stacking run in C++ threads. This module adapts episodes,
lives, rewards and infos to Stable-Baselines3; game names are in `envs.games`, protocols in
`envs.atari`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rl_coordconv.runs.config import UserError


class AtariVecEnv(VecEnv):
    """A vector of Atari games, like Stable-Baselines3's ``AtariWrapper`` and ``VecFrameStack``.

    Observations are greyscale, uint8 ``[n_envs, frame_stack, screen_size, screen_size]``, with the
    newest frame last and zeros for frames before the episode. Every step equals that of the classic
    wrappers bit for bit (tested), except for these differences, which are due to ale-py:

    - A game starts with 0 to ``noop_max - 1`` no-op frames; the classic wrappers use 1 to
      ``noop_max``. Points scored in them count in the classic score only (Skiing, Entombed).
    - At the start of a game FIRE is pressed for one of those frames. The classic wrappers add four
      frames of FIRE and four of the next action, after every lost life too.
    - After a lost life, the next episode starts from the frame that ended the last one. The classic
      wrappers play a no-op step in between, whose reward the agent never sees.
    - The frame limit counts from the first step; the classic one counts from the start of the game.
    - The maximum over two frames is taken in greyscale, not in colour. Flickering objects are
      slightly darker: 0.5% of the pixels in Ms. Pac-Man, by up to 40 of 255 levels; none in
      Breakout.
    - If a game ends in the middle of a step, or at the frame limit, the newest frame of
      ``terminal_observation`` is a maximum over other frames than in the classic wrappers.

    ``info["episode"]`` is set at the end of a game, not of a life: ``r`` is the raw score, ``l``
    the length in emulator frames from the start of the game, ``t`` the seconds since this object
    was created. Do not wrap it in ``VecMonitor``, which would overwrite these with the clipped
    rewards of single lives.

    Args:
        game: Name of a ROM, such as ``ms_pacman``; see `envs.games.GAMES`.
        n_envs: Number of parallel games.
        noop_max: Upper bound of the random number of no-op frames, see above; 0 for none.
        frame_skip: Emulator frames per step.
        screen_size: Height and width of an observation, in pixels.
        frame_stack: Frames per observation.
        terminal_on_life_loss: End the episode, but not the game, when a life is lost.
        clip_reward: Clip rewards to their sign.
        action_repeat_probability: Probability, at each emulator frame, of repeating the last action
            (sticky actions).
        fire_reset: Press FIRE at the start of a game, if the game has this action.
        full_action_space: Use all 18 actions, not only the game's minimal set.
        num_threads: Emulator threads; 0 for one per core. At most the number of cores or games.
    """

    MAX_FRAMES = 108_000
    """Emulator frames after which a game is truncated: half an hour, as in ale-py's registry."""

    render_mode: str | None = None  # read by VecEnv's constructor

    def __init__(
        self,
        game: str,
        n_envs: int,
        *,
        noop_max: int = 30,
        frame_skip: int = 4,
        screen_size: int = 84,
        frame_stack: int = 4,
        terminal_on_life_loss: bool = True,
        clip_reward: bool = True,
        action_repeat_probability: float = 0.0,
        fire_reset: bool = True,
        full_action_space: bool = False,
        num_threads: int = 0,
    ) -> None:
        if n_envs < 1:
            raise UserError(f"n_envs must be at least 1, not {n_envs}.")
        self.games = AtariVectorEnv(
            game,
            n_envs,
            noop_max=noop_max,
            frameskip=frame_skip,
            img_height=screen_size,
            img_width=screen_size,
            stack_num=frame_stack,
            episodic_life=False,  # would start a new game after each lost life
            life_loss_info=False,  # `final_obs` would contain uninitialised memory (ale-py 0.12)
            reward_clipping=False,  # would lose the score
            repeat_action_probability=action_repeat_probability,
            use_fire_reset=fire_reset,
            full_action_space=full_action_space,
            max_num_frames_per_episode=self.MAX_FRAMES,
            autoreset_mode="SameStep",
            num_threads=num_threads,
        )
        """ale-py's environment."""
        action_space = self.games.single_action_space
        assert isinstance(action_space, gym.spaces.Discrete)
        super().__init__(n_envs, self.games.single_observation_space, action_space)
        self._n_actions = int(action_space.n)
        self._frame_stack = frame_stack
        self._terminal_on_life_loss = terminal_on_life_loss
        self._clip_reward = clip_reward
        self._made_at = time.time()
        self._stepping = False
        # State of the current games, set in reset().
        self._scores = np.zeros(n_envs, dtype=np.int64)
        self._lives = np.zeros(n_envs, dtype=np.int32)
        self._first_frames = np.zeros(n_envs, dtype=np.int64)
        # Frames of the current life in each stack; ale-py clears the stacks of new games.
        self._frames_of_life = np.full(n_envs, frame_stack)

    def reset(self) -> NDArray[np.uint8]:
        """Start new games, with the seeds set by ``seed()`` since the last reset.

        Returns:
            The first observations, ``[n_envs, frame_stack, screen_size, screen_size]``.
        """
        if self._stepping:
            self.step_wait()  # ale-py crashes if it is reset during a step
        # SB3 seeds are below 2^32, ale-py takes a C int. Without seeds, ale-py draws random ones.
        seeds = None if None in self._seeds else np.array(self._seeds) % 2**31
        self._reset_seeds()
        self._reset_options()
        observations: NDArray[np.uint8]
        observations, info = self.games.reset(seed=seeds)
        self._lives = info["lives"]
        for i in range(self.num_envs):
            self._begin_game(i, info)
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Start a step of all games.

        Args:
            actions: ``[n_envs]``, integers from 0 to ``action_space.n - 1``.

        Raises:
            ValueError: An action is out of range.
        """
        actions = np.asarray(actions, dtype=np.int64)
        # An invalid action would stop its emulator, and ale-py would wait forever.
        if actions.min() < 0 or actions.max() >= self._n_actions:
            raise ValueError(f"Actions must be from 0 to {self._n_actions - 1}, not {actions}.")
        self.games.send(actions)
        self._stepping = True

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the end of the step, and start a new game after each one that is over.

        Returns:
            Observations as from `reset`; rewards, float32 ``[n_envs]``; dones, bool ``[n_envs]``;
            infos. Each info has ``TimeLimit.truncated`` and ``lives``, the lives left after the
            step (before it if the game was truncated). At the end of an episode it also has
            ``terminal_observation``, at the end of a game also ``episode``.
        """
        observations, points, terminated, truncated, info = self.games.recv()
        self._stepping = False
        # Where a game is over, `observations` and `info` are already those of the next one.
        lives, game_over = info["lives"], terminated | truncated
        # Qbert has 0 lives a few frames before game over; count the last life as lost at game over.
        life_lost = (lives > 0) & (lives < self._lives) & ~game_over & self._terminal_on_life_loss
        infos = [{"lives": left, "TimeLimit.truncated": False} for left in lives.tolist()]
        self._scores += points
        self._frames_of_life = np.minimum(self._frames_of_life + 1, self._frame_stack)
        for i in np.flatnonzero(self._frames_of_life < self._frame_stack).tolist():
            self._clear_older_frames(observations[i], i)

        for i in np.flatnonzero(life_lost).tolist():
            infos[i]["terminal_observation"] = observations[i].copy()
            self._frames_of_life[i] = 1
            self._clear_older_frames(observations[i], i)
        for i in np.flatnonzero(game_over).tolist():
            infos[i]["terminal_observation"] = info["final_obs"][i].copy()
            self._clear_older_frames(infos[i]["terminal_observation"], i)
            infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            infos[i]["lives"] = 0 if terminated[i] else int(self._lives[i])
            infos[i]["episode"] = self._end_game(i, info)
            self._begin_game(i, info)
        self._lives = lives
        rewards = np.sign(points) if self._clip_reward else points
        return observations, rewards.astype(np.float32), game_over | life_lost, infos

    def _clear_older_frames(self, stack: NDArray[np.uint8], i: int) -> None:
        """Zero the frames of game i's ``[frame_stack, H, W]`` stack that precede its episode."""
        stack[: self._frame_stack - self._frames_of_life[i]] = 0

    def _begin_game(self, i: int, info: dict[str, Any]) -> None:
        frames = int(info["episode_frame_number"][i])
        self._scores[i] = 0
        self._first_frames[i] = info["frame_number"][i] - frames
        self.reset_infos[i] = {"lives": int(info["lives"][i]), "episode_frame_number": frames}

    def _end_game(self, i: int, info: dict[str, Any]) -> dict[str, float]:
        """Return the ``info["episode"]`` of game i, which has ended, as SB3's ``Monitor`` would."""
        # The frame counter runs over all games, so a game ends where the next one starts.
        end = int(info["frame_number"][i] - info["episode_frame_number"][i])
        length = end - int(self._first_frames[i])
        seconds = round(time.time() - self._made_at, 6)
        return {"r": float(self._scores[i]), "l": length, "t": seconds}

    def close(self) -> None:
        """Stop the emulators and their threads; further calls do nothing."""
        if hasattr(self, "games"):
            del self.games

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this object, once per game."""
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Raise ``NotImplementedError``: games inside ale-py cannot be accessed."""
        raise NotImplementedError("Attributes of ale-py's games cannot be set.")

    def env_method(self, method_name: str, *_: Any, **__: Any) -> NoReturn:
        """Raise ``NotImplementedError``: games inside ale-py cannot be accessed."""
        raise NotImplementedError(f"Methods of ale-py's games cannot be called: {method_name!r}.")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """Return True for ``Monitor`` only, whose ``info["episode"]`` this object provides.

        This makes ``evaluate_policy`` count whole games.
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return None per game: ale-py's vector environment does not render."""
        return [None] * self.num_envs
