"""Test that `AtariVecEnv` equals SB3's classic wrappers, except for the documented differences."""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.atari_wrappers import (
    AtariWrapper,
    ClipRewardEnv,
    EpisodicLifeEnv,
    MaxAndSkipEnv,
    WarpFrame,
)
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecTransposeImage,
)

from rl_coordconv.envs.vec_env import AtariVecEnv

gym.register_envs(ale_py)

NO_OP = np.array([0])
ROMS = {
    "BattleZone": "battle_zone",
    "Breakout": "breakout",
    "MsPacman": "ms_pacman",
    "Pong": "pong",
    "Qbert": "qbert",
    "Seaquest": "seaquest",
}


class GreyScreen(gym.Wrapper):
    """The emulator's greyscale screen in three channels, as input of SB3's wrappers."""

    def _screen(self) -> np.ndarray:
        return np.repeat(self.unwrapped.ale.getScreenGrayscale()[:, :, None], 3, axis=2)

    def reset(self, **kwargs: Any) -> Any:
        _, info = self.env.reset(**kwargs)
        return self._screen(), info

    def step(self, action: Any) -> Any:
        _, *rest = self.env.step(action)
        return self._screen(), *rest


class NoStepAfterALostLife(EpisodicLifeEnv):
    """SB3's wrapper without its no-op step: the next life starts with the current frame."""

    def step(self, action: Any) -> Any:
        step = super().step(action)
        self.frame = step[0]
        return step

    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs) if self.was_real_done else (self.frame, {})


def classic_env(
    game: str,
    n_envs: int = 1,
    *,
    life_loss: type[EpisodicLifeEnv] | None = NoStepAfterALostLife,
    clip_reward: bool = True,
    grey: bool = True,
    max_frames: int = 108_000,
) -> VecEnv:
    """Make SB3's wrappers in the order of its ``AtariWrapper``, without no-ops and FIRE."""

    def make() -> gym.Env:
        env = gym.make(f"{game}NoFrameskip-v4", max_num_frames_per_episode=max_frames)
        env = Monitor(GreyScreen(env) if grey else env)
        env = MaxAndSkipEnv(env)
        env = life_loss(env) if life_loss else env
        env = WarpFrame(env)
        return ClipRewardEnv(env) if clip_reward else env

    return VecTransposeImage(VecFrameStack(DummyVecEnv([make] * n_envs), n_stack=4))


def plain_env(game: str, n_envs: int = 1, **kwargs: Any) -> AtariVecEnv:
    """Make an `AtariVecEnv` without no-ops and FIRE, so that every game starts the same."""
    return AtariVecEnv(ROMS[game], n_envs, noop_max=0, fire_reset=False, **kwargs)


def actions_for(env: VecEnv, n_steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, env.action_space.n, (n_steps, env.num_envs))


def assert_same_play(native: VecEnv, classic: VecEnv, n_steps: int) -> list[dict[str, Any]]:
    """Play both with the same actions, and return the infos at ends of episodes."""
    ends = []
    np.testing.assert_array_equal(native.reset(), classic.reset())
    for actions in actions_for(native, n_steps):
        observations, rewards, dones, infos = native.step(actions)
        expected_observations, expected_rewards, expected_dones, expected_infos = classic.step(
            actions
        )
        np.testing.assert_array_equal(observations, expected_observations)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(dones, expected_dones)
        assert rewards.dtype == expected_rewards.dtype
        for done, info, expected in zip(dones, infos, expected_infos, strict=True):
            assert_same_info(info, expected)
            if done:
                ends.append(info)
    return ends


def assert_same_info(info: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in ("lives", "TimeLimit.truncated"):
        assert info[key] == expected[key]
    for key in ("episode", "terminal_observation"):
        assert (key in info) == (key in expected)
    if "episode" in info:
        assert info["episode"].keys() == expected["episode"].keys()
        for key in ("r", "l"):
            assert info["episode"][key] == expected["episode"][key]
    if "terminal_observation" in info:
        # At the end of a game the newest frame is a maximum over other frames; see `AtariVecEnv`.
        frames = slice(0, 3 if "episode" in info else 4)
        np.testing.assert_array_equal(
            info["terminal_observation"][frames], expected["terminal_observation"][frames]
        )


class ShortGames(AtariVecEnv):
    MAX_FRAMES = 40  # ten steps


@pytest.mark.parametrize(
    ("game", "n_envs", "n_steps", "lives_lost", "games"),
    [
        ("BattleZone", 1, 1060, 4, 1),
        ("Breakout", 2, 190, 8, 2),
        ("MsPacman", 2, 520, 4, 2),
        ("Pong", 1, 910, 0, 1),
        ("Qbert", 1, 530, 6, 1),
        ("Seaquest", 1, 420, 4, 1),
    ],
)
def test_equals_the_classic_wrappers_to_the_last_bit(
    game: str, n_envs: int, n_steps: int, lives_lost: int, games: int
) -> None:
    ends = assert_same_play(plain_env(game, n_envs), classic_env(game, n_envs), n_steps)
    assert sum("episode" in end for end in ends) >= games
    assert sum("episode" not in end for end in ends) >= lives_lost


def test_equals_the_classic_wrappers_in_whole_games_with_raw_rewards() -> None:
    native = plain_env("MsPacman", terminal_on_life_loss=False, clip_reward=False)
    classic = classic_env("MsPacman", life_loss=None, clip_reward=False)
    ends = assert_same_play(native, classic, n_steps=540)
    assert [end["lives"] for end in ends] == [0]


def test_equals_the_classic_wrappers_when_games_are_truncated() -> None:
    native = ShortGames("ms_pacman", 2, noop_max=0, fire_reset=False)
    ends = assert_same_play(native, classic_env("MsPacman", 2, max_frames=40), n_steps=25)
    assert [end["TimeLimit.truncated"] for end in ends] == [True] * 4


@pytest.mark.parametrize(
    ("game", "share", "levels"),
    [
        ("BattleZone", 0.04, 30),  # the whole sky flashes
        ("Breakout", 0, 0),
        ("MsPacman", 0.006, 40),
        ("Pong", 0.003, 16),
        ("Qbert", 0.0005, 30),
        ("Seaquest", 0.001, 10),
    ],
)
def test_classic_pixels_are_slightly_brighter_where_two_frames_differ(
    game: str, share: float, levels: int
) -> None:
    native, classic = plain_env(game), classic_env(game, grey=False)
    native.reset(), classic.reset()
    differences = []
    for actions in actions_for(native, 250):
        frame, classic_frame = native.step(actions)[0][:, -1], classic.step(actions)[0][:, -1]
        # The maximum of each colour over two frames is at least as bright as either frame.
        assert (classic_frame >= frame).all()
        differences.append(classic_frame - frame)
    assert np.count_nonzero(differences) <= share * np.size(differences)
    assert np.max(differences) <= levels


def test_no_op_frames_are_0_to_noop_max_minus_1_and_classic_ones_1_to_noop_max() -> None:
    native = ShortGames("ms_pacman", 4, noop_max=5)
    native.seed(0)
    native.reset()
    frames = set()
    for _ in range(100):
        native.step(np.zeros(4))
        frames |= {info["episode_frame_number"] for info in native.reset_infos}
    assert frames == {0, 1, 2, 3, 4}

    classic = AtariWrapper(gym.make("MsPacmanNoFrameskip-v4"), noop_max=5)
    classic.reset(seed=0)
    assert {classic.reset()[1]["episode_frame_number"] for _ in range(40)} == {1, 2, 3, 4, 5}


def test_fire_takes_one_frame_per_game_and_classic_fire_eight_per_life() -> None:
    native = AtariVecEnv("breakout", 1, noop_max=0)
    native.reset()
    assert native.reset_infos[0]["episode_frame_number"] == 1
    while not native.step(NO_OP)[2]:
        pass
    # Without FIRE there is no ball, so the screen does not change.
    frames = [native.step(NO_OP)[0][0, -1] for _ in range(20)]
    assert all((frame == frames[0]).all() for frame in frames)

    classic = AtariWrapper(gym.make("BreakoutNoFrameskip-v4"), noop_max=0)
    emulator = classic.unwrapped.ale
    classic.reset()
    assert emulator.getEpisodeFrameNumber() == 8
    while not classic.step(0)[2]:
        pass
    end = emulator.getEpisodeFrameNumber()
    classic.reset()
    assert emulator.getEpisodeFrameNumber() == end + 4 + 8  # a no-op step, then FIRE and RIGHT


def test_a_lost_life_adds_no_step_but_a_classic_one_adds_a_no_op_step() -> None:
    native, classic = plain_env("MsPacman"), classic_env("MsPacman", life_loss=EpisodicLifeEnv)
    native.reset(), classic.reset()
    lost = False
    for actions in actions_for(native, 300):
        frame, *_ = native.step(actions)
        classic_frame, _, dones, _ = classic.step(actions)
        if dones[0]:
            assert (frame != classic_frame).any()
            frame, *_ = native.step(NO_OP)
            lost = True
        np.testing.assert_array_equal(frame[:, -1], classic_frame[:, -1])
    assert lost


def test_the_frame_limit_counts_from_the_first_step_and_the_classic_one_from_the_start() -> None:
    native = ShortGames("ms_pacman", 4)
    native.seed(0)
    native.reset()
    before = [info["episode_frame_number"] for info in native.reset_infos]
    infos = [native.step(np.zeros(4))[3] for _ in range(10)][-1]
    assert sum(before) > 0
    assert [info["episode"]["l"] for info in infos] == [40 + frames for frames in before]

    classic = gym.make("MsPacmanNoFrameskip-v4", max_num_frames_per_episode=40)
    classic = AtariWrapper(Monitor(classic))
    classic.reset(seed=0)
    while not (step := classic.step(0))[3]:
        pass
    assert step[4]["episode"]["l"] == 40


def test_points_before_the_first_step_count_in_the_classic_score_only() -> None:
    native = ShortGames("skiing", 1, clip_reward=False)
    native.seed(0)
    native.reset()
    steps = [native.step(NO_OP) for _ in range(10)]
    assert native.reset_infos[0]["episode_frame_number"] > 0
    assert steps[-1][3][0]["episode"]["r"] == sum(rewards[0] for _, rewards, _, _ in steps)

    classic = gym.make("SkiingNoFrameskip-v4", max_num_frames_per_episode=40)
    classic = AtariWrapper(Monitor(classic), clip_reward=False)
    classic.reset(seed=0)
    rewards = []
    truncated = False
    while not truncated:
        _, reward, _, truncated, info = classic.step(0)
        rewards.append(reward)
    assert info["episode"]["r"] < sum(rewards) < 0
