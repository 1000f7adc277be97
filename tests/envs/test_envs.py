"""Test game names, and the two protocols with both backends."""

from __future__ import annotations

from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common import atari_wrappers
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.envs import atari
from rl_coordconv.envs.atari import GAMES, Backend, Protocol, game_name, make_atari_env
from rl_coordconv.envs.vec_env import AtariVecEnv
from rl_coordconv.runs.config import UserError

BACKENDS = get_args(Backend)


@pytest.mark.parametrize(
    "name",
    [
        "MsPacman",
        "mspacman",
        "ms_pacman",
        "MS_PACMAN",
        "Ms Pacman",
        "ALE/MsPacman-v5",
        "ale/mspacman-v5",
        "MsPacman-v4",
        "MsPacman-v0",
        "MsPacmanNoFrameskip-v4",
        "ale_py:ALE/MsPacman-v5",
        "ale_py:MsPacmanNoFrameskip-v4",
        "MsPacmanNoFrameskip",
        "MsPacmanDeterministic-v4",
    ],
)
def test_every_spelling_of_a_game_is_accepted(name: str) -> None:
    assert game_name(name) == "MsPacman"
    assert GAMES[game_name(name)] == "ms_pacman"


def test_every_game_is_found_by_name_rom_and_id() -> None:
    for name, rom in GAMES.items():
        assert {game_name(known) for known in (name, rom, f"ALE/{name}-v5")} == {name}


def test_multiplayer_games_are_excluded() -> None:
    assert len(GAMES) > 100
    assert not {"Combat", "Joust", "MazeCraze", "Warlords"} & set(GAMES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MsPackman", "There is no Atari game 'MsPackman'; did you mean MsPacman?"),
        ("ALE/Brekout-v5", "There is no Atari game 'ALE/Brekout-v5'; did you mean Breakout?"),
        ("qqqq", "There is no Atari game 'qqqq'."),
        ("", "There is no Atari game ''."),
    ],
)
def test_an_unknown_game_is_an_error_that_suggests_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        game_name(name)
    assert str(error.value) == message
    with pytest.raises(UserError):
        make_atari_env(name, 1)


@pytest.mark.parametrize(
    ("protocol", "training", "expected"),
    [
        ("classic", True, (30, 0.0, True, True)),
        ("classic", False, (30, 0.0, False, False)),
        ("sticky", True, (0, 0.25, False, True)),
        ("sticky", False, (0, 0.25, False, False)),
    ],
)
def test_both_backends_get_the_settings_of_the_protocol(
    monkeypatch: pytest.MonkeyPatch,
    protocol: Protocol,
    training: bool,
    expected: tuple[int, float, bool, bool],
) -> None:
    given: list[dict[str, Any]] = []

    class Native(AtariVecEnv):
        def __init__(self, *args: Any, num_threads: int, **settings: Any) -> None:
            given.append(settings)
            super().__init__(*args, num_threads=num_threads, **settings)

    class Classic(atari_wrappers.AtariWrapper):
        def __init__(self, env: gym.Env, **settings: Any) -> None:
            given.append(settings)
            super().__init__(env, **settings)

    monkeypatch.setattr(atari, "AtariVecEnv", Native)
    monkeypatch.setattr(atari.env_util, "AtariWrapper", Classic)
    for backend in BACKENDS:
        make_atari_env("pong", 1, protocol=protocol, backend=backend, training=training).close()
    names = ("noop_max", "action_repeat_probability", "terminal_on_life_loss", "clip_reward")
    assert given == [dict(zip(names, expected, strict=True))] * 2


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_backends_have_the_same_spaces_and_infos(protocol: Protocol) -> None:
    native, classic = (
        make_atari_env("Breakout", 2, protocol=protocol, backend=backend, seed=0)
        for backend in BACKENDS
    )
    assert native.observation_space == classic.observation_space
    assert native.action_space == classic.action_space
    first, classic_first = native.reset(), classic.reset()
    assert (first.shape, first.dtype) == (classic_first.shape, classic_first.dtype)
    actions = np.array([1, 2])
    for part, classic_part in zip(native.step(actions), classic.step(actions), strict=True):
        if isinstance(part, np.ndarray):
            assert (part.shape, part.dtype) == (classic_part.shape, classic_part.dtype)
        else:
            assert part[0].keys() <= classic_part[0].keys()


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_training_an_episode_is_a_whole_game_with_raw_rewards(backend: Backend) -> None:
    env = make_atari_env("Breakout", 1, backend=backend, training=False, seed=0)
    env.reset()
    score, done = 0.0, False
    rng = np.random.default_rng(0)
    while not done:
        _, rewards, dones, infos = env.step(rng.integers(0, 4, 1))
        score, done = score + rewards[0], dones[0]
    assert infos[0]["lives"] == 0
    assert infos[0]["episode"]["r"] == score


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_seed_determines_the_game(backend: Backend) -> None:
    def play(seed: int) -> list[np.ndarray]:
        env = make_atari_env("Pong", 2, protocol="sticky", backend=backend, seed=seed)
        env.reset()
        return [env.step(np.array([2, 3]))[0].copy() for _ in range(10)]

    first = play(1)
    assert np.array_equal(play(1), first)
    assert not np.array_equal(play(2), first)


def emulator_settings(env: VecEnv) -> dict[str, Any]:
    return env.get_attr("spec")[0].kwargs


def test_the_classic_environment_equals_noframeskip_v4() -> None:
    env = make_atari_env("MsPacman", 1, backend="sb3")
    settings = emulator_settings(env)
    assert settings == gym.spec("MsPacmanNoFrameskip-v4").kwargs
    assert settings["max_num_frames_per_episode"] == AtariVecEnv.MAX_FRAMES


def test_a_game_without_noframeskip_v4_has_both_backends() -> None:
    for backend in BACKENDS:
        assert make_atari_env("Tetris", 1, backend=backend).reset().shape == (1, 4, 84, 84)
