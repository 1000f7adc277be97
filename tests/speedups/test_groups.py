import numpy as np
import pytest
from games import WhereIsTheSquare
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.speedups.groups import GroupedVecEnv


def play(env, n_steps):
    """Return the first observations, and everything of each step, with random actions."""
    env.seed(3)
    random = np.random.default_rng(0)
    steps = [(env.reset().copy(), env.reset_infos)]
    for actions in random.integers(env.action_space.n, size=(n_steps, env.num_envs)):
        observations, rewards, dones, infos = env.step(actions)
        for info in infos:
            info.get("episode", {}).pop("t", None)  # seconds
        steps.append((observations.copy(), rewards, dones, infos))
    env.close()
    return steps


def test_games_are_those_of_one_environment():
    grouped = GroupedVecEnv([make_atari_env("MsPacman", n, num_threads=1) for n in (1, 2)])
    whole = make_atari_env("MsPacman", 3, num_threads=1)
    assert grouped.get_images() == [None] * 3
    assert (grouped.num_envs, grouped.slices) == (3, [slice(0, 1), slice(1, 3)])
    for ours, theirs in zip(play(grouped, 300), play(whole, 300), strict=True):
        np.testing.assert_equal(ours, theirs)


@pytest.fixture
def env():
    return GroupedVecEnv([make_vec_env(WhereIsTheSquare, n_envs=n) for n in (2, 1)])


def test_attributes_and_methods_are_those_of_the_games(env):
    env.set_attr("colour", "red", [1, 2])
    assert env.get_attr("colour", [2, 1]) == ["red", "red"]
    assert env.get_attr("SIDE") == [36] * 3
    assert env.env_method("get_wrapper_attr", "SIDE", indices=2) == [36]
    assert env.env_is_wrapped(Monitor) == [True] * 3


def test_seeds_and_options_reach_their_game(env):
    assert env.seed(5) == [5, 6, 7]
    assert env.seed() is not None
    env.set_options([{"n": 0}, {"n": 1}, {"n": 2}])
    assert [group._options for group in env.groups] == [[{"n": 0}, {"n": 1}], [{"n": 2}]]
    env.set_options({"n": 9})
    assert env.groups[1]._options == [{"n": 9}]
