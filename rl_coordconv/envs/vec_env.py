"""ale-py's C++ vector environment behind Stable-Baselines3's ``VecEnv``.

Emulation, frame skip, resizing and stacking run in C++ threads. This file translates episodes,
lives, rewards and infos for Stable-Baselines3; names and protocols are in `envs.atari`.
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


class AtariVecEnv(VecEnv):
    """Copies of an Atari game, as with Stable-Baselines3's ``AtariWrapper`` and ``VecFrameStack``.

    Observations are grey levels, uint8 ``[n_envs, frame_stack, screen_size, screen_size]``, newest
    frame last, zeros for frames before the episode. Tests check that every step equals that of the
    classic wrappers to the last bit, except for these differences, which come from ale-py:

    - A game begins after 0 to ``noop_max - 1`` frames without action; classic: 1 to ``noop_max``.
      Points that they bring count in the classic score only (Skiing, Entombed).
    - FIRE is pressed for one frame when a game begins, and counts among those. The classic wrappers
      add four frames of FIRE and four of the next action, and again after each lost life.
    - A lost life costs no step: the next episode begins with the frame that ended the last one. The
      classic wrapper plays a step without action in between, whose reward the agent never sees.
    - The limit on frames counts from the first step; the classic one from the start of the game.
    - The brighter pixel of two frames is taken in grey, not in colour. Flickering objects are a
      little darker: 0.5% of the pixels in Ms. Pac-Man, by up to 40 of 255 levels; none in Breakout.
    - When a game ends in the middle of a step, the newest frame of ``terminal_observation`` mixes
      earlier ones, as in the classic wrappers but not the same; here also at the limit on frames.

    ``info["episode"]`` comes at the end of a game, not of a life: ``r`` is the raw score, ``l`` the
    length in emulator frames from the start of the game, ``t`` the seconds since this object was
    made. A ``VecMonitor`` on top would overwrite it with clipped rewards of single lives.

    Args:
        game: Name of a ROM, such as ``ms_pacman``; `envs.atari.GAMES` has them all.
        n_envs: Games played at once.
        noop_max: Bounds the random number of frames before a game, see above; 0 for none.
        frame_skip: Emulator frames per step.
        screen_size: Height and width of an observation in pixels.
        frame_stack: Frames per observation.
        terminal_on_life_loss: A lost life ends an episode, though not the game.
        clip_reward: Rewards are the sign of the points won or lost.
        action_repeat_probability: Chance, at each emulator frame, that the last action is repeated.
        fire_reset: Press FIRE when a game begins, if the game has it.
        full_action_space: All 18 actions, not only those of the game.
        num_threads: Threads that emulate; 0 for one per core. Never more than cores or games.
    """

    MAX_FRAMES = 108_000
    """Emulator frames until a game is cut off: half an hour, as ale-py registers every game."""

    render_mode: str | None = None  # VecEnv asks for it while it is being initialised

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
        self.games = AtariVectorEnv(
            game,
            n_envs,
            noop_max=noop_max,
            frameskip=frame_skip,
            img_height=screen_size,
            img_width=screen_size,
            stack_num=frame_stack,
            episodic_life=False,  # would begin a new game after each lost life
            life_loss_info=False,  # would leave stray memory in `final_obs` (ale-py 0.12)
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
        # Of the current games; reset() fills them in.
        self._scores = np.zeros(n_envs, dtype=np.int64)
        self._lives = np.zeros(n_envs, dtype=np.int32)
        self._first_frames = np.zeros(n_envs, dtype=np.int64)
        # Frames of each stack that belong to the current life; ale-py clears those of new games.
        self._frames_of_life = np.full(n_envs, frame_stack)

    def reset(self) -> NDArray[np.uint8]:
        """Begin new games, with the seeds set by ``seed()`` since the last reset.

        Returns:
            The first observations, ``[n_envs, frame_stack, screen_size, screen_size]``.
        """
        if self._stepping:
            self.step_wait()  # ale-py crashes when it is reset in the middle of a step
        # SB3 draws seeds below 2^32, ale-py takes a C int. Without seeds all games differ.
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
        """Begin a step in the emulators.

        Args:
            actions: ``[n_envs]``, integers from 0 to ``action_space.n - 1``.

        Raises:
            ValueError: There is no such action.
        """
        actions = np.asarray(actions, dtype=np.int64)
        # Such an action would stop its emulator, and ale-py would wait forever.
        if actions.min() < 0 or actions.max() >= self._n_actions:
            raise ValueError(f"Actions must be from 0 to {self._n_actions - 1}, not {actions}.")
        self.games.send(actions)
        self._stepping = True

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the end of the step; a game that is over is followed by the next one.

        Returns:
            Observations as from `reset`; rewards, float32 ``[n_envs]``; dones, bool ``[n_envs]``;
            infos. Each info has ``TimeLimit.truncated`` and ``lives``, those left after the step
            (before it if the game was cut off); at the end of an episode also
            ``terminal_observation``; at the end of a game also ``episode``.
        """
        observations, points, terminated, truncated, info = self.games.recv()
        self._stepping = False
        # After the end of a game, `observations` and `info` are those of the next one.
        lives, game_over = info["lives"], terminated | truncated
        # Qbert has 0 lives some frames before it is over; the last life ends with the game.
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
        """Clear the frames before game i's episode in its stack, ``[frame_stack, H, W]``."""
        stack[: self._frame_stack - self._frames_of_life[i]] = 0

    def _begin_game(self, i: int, info: dict[str, Any]) -> None:
        frames = int(info["episode_frame_number"][i])
        self._scores[i] = 0
        self._first_frames[i] = info["frame_number"][i] - frames
        self.reset_infos[i] = {"lives": int(info["lives"][i]), "episode_frame_number": frames}

    def _end_game(self, i: int, info: dict[str, Any]) -> dict[str, float]:
        """Return what SB3's ``Monitor`` would report of game i, which has ended."""
        # The emulator counts frames over all games: one ends where the next begins.
        end = int(info["frame_number"][i] - info["episode_frame_number"][i])
        length = end - int(self._first_frames[i])
        seconds = round(time.time() - self._made_at, 6)
        return {"r": float(self._scores[i]), "l": length, "t": seconds}

    def close(self) -> None:
        """Stop the emulators and their threads; a second call does nothing."""
        if hasattr(self, "games"):
            del self.games

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this object, once for each of the games."""
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> NoReturn:
        """Raise ``NotImplementedError``: not possible inside ale-py."""
        raise NotImplementedError("ale-py's games have no attributes to set.")

    def env_method(self, method_name: str, *_: Any, **__: Any) -> NoReturn:
        """Raise ``NotImplementedError``: not possible inside ale-py."""
        raise NotImplementedError(f"ale-py's games have no method {method_name!r} to call.")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """Return whether this object does the wrapper's work: only that of ``Monitor``.

        So ``evaluate_policy`` uses ``info["episode"]`` and counts whole games.
        """
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return no images: ale-py's vector environment does not render."""
        return [None] * self.num_envs
