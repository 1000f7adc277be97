"""The Gymnasium vector environment equals the one for Stable-Baselines3."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.envs.vector import AtariGames

N_STEPS = 300  # a game of Klax takes 188 to 268 steps of random actions


@pytest.mark.parametrize(("protocol", "training"), [("classic", True), ("sticky", False)])
def test_equals_the_environment_of_stable_baselines3(protocol, training):
    games = AtariGames("Klax", 2, protocol=protocol, training=training)
    others = [make_atari_env("Klax", 1, protocol=protocol, training=training) for _ in range(2)]
    observations, infos = games.reset(seed=5)
    assert infos == {}
    for i, other in enumerate(others):
        other.seed(5 + i)
        assert np.array_equal(observations[i], other.reset()[0])
    first = [None, None]  # the first observations of the next episodes
    ends, scores = 0, []
    random = np.random.default_rng(0)
    for _ in range(N_STEPS):
        actions = random.integers(games.single_action_space.n, size=2)
        observations, rewards, terminated, truncated, infos = games.step(actions)
        assert observations.dtype == np.uint8
        assert rewards.dtype == np.float32
        for i, other in enumerate(others):
            if first[i] is not None:
                assert np.array_equal(observations[i], first[i])
                assert (rewards[i], terminated[i], truncated[i]) == (0, False, False)
                first[i] = None
                continue
            (expected,), (reward,), (done,), (info,) = other.step(actions[i : i + 1])
            assert rewards[i] == reward
            assert terminated[i] == (done and not info["TimeLimit.truncated"])
            assert truncated[i] == (done and info["TimeLimit.truncated"])
            if done:
                first[i], expected = expected, info["terminal_observation"]
                ends += 1
            assert np.array_equal(observations[i], expected)
            is_over = "_game_return" in infos and infos["_game_return"][i]
            assert is_over == ("episode" in info)
            if is_over:
                scores.append(infos["game_return"][i])
                assert scores[-1] == info["episode"]["r"]
                assert infos["game_frames"][i] == info["episode"]["l"]
    assert ends >= 2
    assert scores
    games.close()


def test_says_how_it_resets():
    games = AtariGames("Pong", 3)
    assert games.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert games.observation_space.shape == (3, 4, 84, 84)
    assert games.observation_space.contains(games.reset(seed=0)[0])
    games.close()


def test_equal_seeds_begin_equal_games():
    games = AtariGames("Breakout", 2)
    first, _ = games.reset(seed=3)
    second, _ = games.reset(seed=[3, 4])
    assert np.array_equal(first, second)
    games.close()
