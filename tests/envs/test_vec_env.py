"""Test that `AtariVecEnv` follows the interface of Stable-Baselines3's ``VecEnv``.

``test_vec_env_against_classic.py`` compares it with the classic wrappers.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import A2C
from stable_baselines3.common.atari_wrappers import AtariWrapper
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs import vec_env
from rl_coordconv.envs.vec_env import AtariVecEnv

NO_OP = np.array([0])


class ShortGames(AtariVecEnv):
    MAX_FRAMES = 40  # ten steps


def actions_for(env: VecEnv, n_steps: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, env.action_space.n, (n_steps, env.num_envs))


class FakeGames:
    """A fake of ale-py's vector environment: one game of 1x1 pixels that follows a script.

    Each step is (terminated, truncated, lives after it); the frames are numbered from 1.
    """

    single_observation_space = gym.spaces.Box(0, 255, (4, 1, 1), np.uint8)
    single_action_space = gym.spaces.Discrete(2)

    def __init__(self, lives: int, *steps: tuple[bool, bool, int]) -> None:
        self.lives, self.steps = lives, iter(steps)

    def reset(self, seed: object) -> tuple[np.ndarray, dict[str, Any]]:
        self.frames = [0, 0, 0, 1]
        return self._stack(), self._info(self.lives)

    def send(self, actions: np.ndarray) -> None: ...

    def recv(self) -> tuple[Any, ...]:
        terminated, truncated, lives = next(self.steps)
        info = self._info(lives)
        self.frames = [*self.frames[1:], self.frames[-1] + 1]
        if terminated or truncated:
            info["final_obs"] = self._stack()
            self.frames = [0, 0, 0, self.frames[-1] + 1]
        flags = (np.array([flag]) for flag in (terminated, truncated))
        return self._stack(), np.array([5], np.int32), *flags, info

    def _stack(self) -> np.ndarray:
        return np.array(self.frames, np.uint8).reshape(1, 4, 1, 1)

    def _info(self, lives: int) -> dict[str, Any]:
        counts = {"lives": lives, "frame_number": 0, "episode_frame_number": 0}
        return {key: np.array([count], np.int32) for key, count in counts.items()}


def play_script(
    monkeypatch: pytest.MonkeyPatch, lives: int, *steps: tuple[bool, bool, int], **kwargs: Any
) -> list[SimpleNamespace]:
    monkeypatch.setattr(vec_env, "AtariVectorEnv", lambda *_, **__: FakeGames(lives, *steps))
    env = AtariVecEnv("fake", 1, **kwargs)
    env.reset()
    played = []
    for _ in steps:
        observations, rewards, dones, infos = env.step(NO_OP)
        played.append(
            SimpleNamespace(
                stack=observations.ravel().tolist(), reward=rewards[0], done=dones[0], **infos[0]
            )
        )
    return played


@pytest.mark.parametrize(
    ("lives", "step", "done", "truncated", "lives_left", "game_ends"),
    [
        (3, (False, False, 3), False, False, 3, False),  # nothing happens
        (3, (False, False, 2), True, False, 2, False),  # a life is lost
        (3, (False, False, 4), False, False, 4, False),  # a life is won
        (1, (False, False, 0), False, False, 0, False),  # Qbert, shortly before game over
        (0, (False, False, 0), False, False, 0, False),  # Pong has no lives
        (1, (True, False, 3), True, False, 0, True),  # game over, the next one has three lives
        (5, (True, False, 3), True, False, 0, True),  # game over with lives left
        (2, (False, True, 3), True, True, 2, True),  # truncated
        (1, (True, True, 3), True, False, 0, True),  # game over in the last frame
    ],
)
def test_what_ends_an_episode(
    monkeypatch: pytest.MonkeyPatch,
    lives: int,
    step: tuple[bool, bool, int],
    done: bool,
    truncated: bool,
    lives_left: int,
    game_ends: bool,
) -> None:
    for by_life in (True, False):
        (played,) = play_script(monkeypatch, lives, step, terminal_on_life_loss=by_life)
        assert played.done == (done if by_life else game_ends)
        assert hasattr(played, "terminal_observation") == played.done
        if played.done:
            assert played.terminal_observation.ravel().tolist() == [0, 0, 1, 2]
        assert vars(played)["TimeLimit.truncated"] == truncated
        assert played.lives == lives_left
        assert hasattr(played, "episode") == game_ends


def test_the_stack_has_no_frames_from_before_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    played = play_script(
        monkeypatch,
        3,
        (False, False, 3),
        (False, False, 2),  # a life is lost, and one more at once
        (False, False, 1),
        (False, False, 1),
        (True, False, 3),  # then the game, before the stack is full
        (False, False, 3),
        (False, False, 2),
        *[(False, False, 2)] * 4,
    )
    assert [step.stack for step in played] == [
        [0, 0, 1, 2],
        [0, 0, 0, 3],
        [0, 0, 0, 4],
        [0, 0, 4, 5],
        [0, 0, 0, 7],
        [0, 0, 7, 8],
        [0, 0, 0, 9],
        [0, 0, 9, 10],
        [0, 9, 10, 11],
        [9, 10, 11, 12],
        [10, 11, 12, 13],
    ]
    assert [step.terminal_observation.ravel().tolist() for step in played if step.done] == [
        [0, 1, 2, 3],
        [0, 0, 3, 4],
        [0, 4, 5, 6],
        [0, 7, 8, 9],
    ]


def test_the_score_is_the_raw_score_of_one_game(monkeypatch: pytest.MonkeyPatch) -> None:
    script = [(False, False, 1), (True, False, 3), (False, False, 2), (True, False, 3)]
    for clip_reward, reward in ((True, 1), (False, 5)):
        played = play_script(monkeypatch, 2, *script, clip_reward=clip_reward)
        assert [step.reward for step in played] == [reward] * 4
        assert [step.episode["r"] for step in played if hasattr(step, "episode")] == [10, 10]


def test_a_reset_clears_score_and_length() -> None:
    env = ShortGames("skiing", 1, noop_max=0, fire_reset=False, clip_reward=False)
    for n_steps in (4, 10):
        env.reset()
        steps = [env.step(NO_OP) for _ in range(n_steps)]
    episode = steps[-1][3][0]["episode"]
    assert episode["l"] == 40
    assert episode["r"] == sum(rewards[0] for _, rewards, _, _ in steps)
    assert episode["t"] > 0


class RandomPlayer:
    """Plays the same random actions every time, for ``evaluate_policy``."""

    def __init__(self, env: VecEnv) -> None:
        self.actions = iter(actions_for(env, 5_000))

    def predict(self, *_: Any, **__: Any) -> tuple[np.ndarray, None]:
        return next(self.actions), None


def test_evaluate_policy_counts_whole_games_and_raw_scores() -> None:
    whole_games = AtariVecEnv(
        "ms_pacman", 1, noop_max=0, terminal_on_life_loss=False, clip_reward=False
    )
    whole_games.reset()
    points, game_over = [], False
    actions = iter(actions_for(whole_games, 5_000))
    while not game_over:
        _, rewards, (game_over,), _ = whole_games.step(next(actions))
        points.append(rewards[0])

    env = AtariVecEnv("ms_pacman", 1, noop_max=0)
    (score,), (length,) = evaluate_policy(
        RandomPlayer(env), env, n_eval_episodes=1, return_episode_rewards=True
    )
    assert score == sum(points) > 100
    assert 4 * len(points) - 4 < length <= 4 * len(points)


def test_a2c_learns_on_it() -> None:
    env = ShortGames("breakout", 2, noop_max=0, fire_reset=False, screen_size=36)
    small = {"features_extractor_kwargs": {"features_dim": 8}}
    model = A2C("CnnPolicy", env, policy_kwargs=small, device="cpu", seed=0)
    assert model.get_env() is env
    model.learn(40)
    assert [episode["l"] for episode in model.ep_info_buffer] == [40] * 4


def trajectory(env: VecEnv, n_steps: int) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    """Return observations and rewards from a reset on, and the scores of finished games."""
    observations, rewards, games = [env.reset()], [], []
    for actions in actions_for(env, n_steps):
        observation, reward, _, infos = env.step(actions)
        observations.append(observation)
        rewards.append(reward)
        games += [(i, info["episode"]["r"]) for i, info in enumerate(infos) if "episode" in info]
    return np.array(observations), np.array(rewards), games


def test_the_number_of_threads_does_not_change_the_game() -> None:
    plays = []
    for num_threads in (1, 2, 0):
        env = AtariVecEnv("breakout", 3, action_repeat_probability=0.25, num_threads=num_threads)
        env.seed(3)
        plays.append(trajectory(env, 200))
    assert len(plays[0][2]) >= 2
    for play in plays[1:]:
        for part, expected in zip(play, plays[0], strict=True):
            np.testing.assert_array_equal(part, expected)


def test_every_game_has_a_different_seed() -> None:
    actions = np.zeros(3, np.int64)
    three = AtariVecEnv("ms_pacman", 3, action_repeat_probability=0.25)
    last = AtariVecEnv("ms_pacman", 1, action_repeat_probability=0.25)
    assert three.seed(5) == [5, 6, 7]
    last.seed(7)
    three.reset(), last.reset()
    for _ in range(50):
        np.testing.assert_array_equal(three.step(actions)[0][2:], last.step(actions[:1])[0])
    assert len({info["episode_frame_number"] for info in three.reset_infos}) > 1


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_a_seed_applies_to_one_reset(seed: int) -> None:
    env = AtariVecEnv("ms_pacman", 3)
    starts = []
    for _ in range(2):
        env.seed(seed)
        env.reset()
        starts.append(env.reset_infos.copy())
    env.reset()
    assert starts[0] == starts[1] != env.reset_infos


def test_a_sticky_action_repeats_the_last_one() -> None:
    sticky = AtariVecEnv("ms_pacman", 1, noop_max=0, action_repeat_probability=1.0)
    idle = AtariVecEnv("ms_pacman", 1, noop_max=0)
    sticky.reset(), idle.reset()
    # With probability 1, the initial no-op is repeated forever.
    for actions in actions_for(sticky, 120):
        np.testing.assert_array_equal(sticky.step(actions)[0], idle.step(NO_OP)[0])


def test_a_step_is_frame_skip_frames() -> None:
    env = ShortGames("breakout", 1, noop_max=0, fire_reset=False, frame_skip=2)
    env.reset()
    dones = [env.step(NO_OP)[2][0] for _ in range(40)]
    assert np.flatnonzero(dones).tolist() == [19, 39]


def test_returned_observations_do_not_change_later() -> None:
    env = AtariVecEnv("breakout", 2, noop_max=0)
    given = [env.reset()]
    copies = [given[0].copy()]
    for actions in actions_for(env, 200):
        observations, _, _, infos = env.step(actions)
        ends = [info["terminal_observation"] for info in infos if "terminal_observation" in info]
        given += [observations, *ends]
        copies += [array.copy() for array in given[len(copies) :]]
    assert all((now == then).all() for now, then in zip(given, copies, strict=True))


def test_spaces_shapes_and_types() -> None:
    env = AtariVecEnv(
        "breakout", 3, frame_stack=2, screen_size=42, frame_skip=2, full_action_space=True
    )
    assert env.observation_space == gym.spaces.Box(0, 255, (2, 42, 42), np.uint8)
    assert env.action_space == gym.spaces.Discrete(18)
    observations = env.reset()
    assert observations.shape == (3, 2, 42, 42)
    assert env.reset_infos == [{"lives": 5, "episode_frame_number": n} for n in starts_of(env)]
    observations, rewards, dones, infos = env.step(np.array([0, 17, 3], np.int8))
    assert env.observation_space.contains(observations[0])
    assert (rewards.dtype, dones.dtype) == (np.float32, np.bool_)
    assert infos == [{"lives": 5, "TimeLimit.truncated": False}] * 3
    assert len({id(info) for info in infos}) == 3


def starts_of(env: VecEnv) -> list[int]:
    return [info["episode_frame_number"] for info in env.reset_infos]


def test_vec_env_methods_that_ale_does_not_support() -> None:
    env = AtariVecEnv("breakout", 2, noop_max=0)
    assert env.get_attr("render_mode") == [None, None]
    assert env.get_attr("num_envs", indices=0) == [2]
    assert not env.has_attr("action_masks")
    assert env.env_is_wrapped(Monitor) == [True, True]
    assert env.env_is_wrapped(AtariWrapper, indices=[1]) == [False]
    assert env.get_images() == [None, None]
    with pytest.raises(NotImplementedError, match="cannot be set"):
        env.set_attr("frameskip", 2)
    with pytest.raises(NotImplementedError, match="cannot be called: 'render'"):
        env.env_method("render")


@pytest.mark.parametrize("actions", [[0, 4], [-1, 0]])
def test_an_action_out_of_range_is_an_error(actions: list[int]) -> None:
    env = AtariVecEnv("breakout", 2, noop_max=0)
    env.reset()
    with pytest.raises(ValueError, match="Actions must be from 0 to 3"):
        env.step(np.array(actions))


def test_a_reset_during_a_step() -> None:
    env = AtariVecEnv("breakout", 2, noop_max=0)
    first = env.reset()
    env.step_async(np.array([1, 1]))
    np.testing.assert_array_equal(env.reset(), first)
    assert env.step(np.array([0, 0]))[0].shape == (2, 4, 84, 84)


def test_closing_twice_is_allowed() -> None:
    env = AtariVecEnv("breakout", 2, noop_max=0)
    env.close()
    env.close()
