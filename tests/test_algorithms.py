"""Test every algorithm of Stable-Baselines3 and sb3-contrib that has policies for images."""

from __future__ import annotations

import io
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import HumanOutputFormat, KVWriter, Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rl_coordconv import CoordCombinedExtractor, CoordImpalaCNN, CoordNatureCNN, policy_kwargs
from rl_coordconv.callbacks import CoordinateCallback

ALGORITHMS: list[tuple[type[BaseAlgorithm], str]] = [
    (algorithm, policy)
    for package in (stable_baselines3, sb3_contrib)
    for algorithm in vars(package).values()
    if isinstance(algorithm, type) and issubclass(algorithm, BaseAlgorithm)
    for policy in algorithm.policy_aliases
    if policy.startswith(("Cnn", "MultiInput"))
]

CONTINUOUS = {"DDPG", "SAC", "TD3", "TQC", "CrossQ"}


class Blank(gym.Env[Any, Any]):
    """An environment of black images, optionally as a Dict with a vector."""

    def __init__(self, discrete: bool, with_vector: bool) -> None:
        image = spaces.Box(0, 255, (2, 36, 36), np.uint8)
        vector = spaces.Box(-1, 1, (3,), np.float32)
        self.observation_space: spaces.Space[Any] = (
            spaces.Dict({"image": image, "vector": vector}) if with_vector else image
        )
        self.action_space: spaces.Space[Any] = (
            spaces.Discrete(3) if discrete else spaces.Box(-1, 1, (2,), np.float32)
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        image, vector = np.zeros((2, 36, 36), np.uint8), np.zeros(3, np.float32)
        has_vector = isinstance(self.observation_space, spaces.Dict)
        return {"image": image, "vector": vector} if has_vector else image, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], 0.0, True, False, {}

    def action_masks(self) -> list[bool]:
        return [True] * 3


def make_model(
    algorithm: type[BaseAlgorithm], policy: str, kwargs: dict[str, Any] | None, **options: Any
) -> BaseAlgorithm:
    discrete = algorithm.__name__ not in CONTINUOUS
    env = DummyVecEnv([lambda: Blank(discrete, policy.startswith("MultiInput"))])
    if issubclass(algorithm, OffPolicyAlgorithm):
        options = {"buffer_size": 10}
    return algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **options)


def weights(model: BaseAlgorithm) -> dict[str, Tensor]:
    return model.policy.state_dict()


def own_kwargs(policy: str, name: str, **own: Any) -> dict[str, Any]:
    if policy.startswith("MultiInput"):
        own["features_extractor_class"] = CoordCombinedExtractor
    return policy_kwargs(name, **own)


def test_every_algorithm_with_an_image_policy_is_tested():
    names = {algorithm.__name__ for algorithm, _ in ALGORITHMS}
    assert names >= {"A2C", "PPO", "DQN", "SAC", "TD3", "DDPG"}
    assert names >= {"QRDQN", "TQC", "TRPO", "MaskablePPO", "RecurrentPPO"}


@pytest.mark.parametrize(("algorithm", "policy"), ALGORITHMS)
class TestEveryAlgorithm:
    def test_nature_equals_the_default_policy(self, algorithm, policy):
        theirs = weights(make_model(algorithm, policy, None))
        ours = weights(make_model(algorithm, policy, own_kwargs(policy, "nature")))
        assert [*ours] == [*theirs]
        assert all(ours[name].equal(value) for name, value in theirs.items())

    def test_coordconv_adds_only_the_coordinate_weights(self, algorithm, policy):
        nature = weights(make_model(algorithm, policy, own_kwargs(policy, "nature")))
        coordconv = weights(make_model(algorithm, policy, own_kwargs(policy, "coordconv")))
        assert [*coordconv] == [*nature]
        wider = {name for name in nature if coordconv[name].shape != nature[name].shape}
        assert wider == {name for name in nature if name.endswith("cnn.0.weight")} != set()
        assert all(nature[name].shape == (32, 2, 8, 8) for name in wider)
        assert all(coordconv[name].shape == (32, 4, 8, 8) for name in wider)

    def test_a_users_net_arch_has_the_same_effect_as_without_the_extractor(self, algorithm, policy):
        theirs = weights(make_model(algorithm, policy, {"net_arch": [7]}))
        ours = weights(make_model(algorithm, policy, own_kwargs(policy, "nature", net_arch=[7])))
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


class Captured(KVWriter):
    """A writer that stores logged values by tag."""

    def __init__(self) -> None:
        self.values: dict[str, list[Any]] = {}

    def write(self, values: dict[str, Any], excluded: Any, step: int = 0) -> None:
        for tag, value in values.items():
            self.values.setdefault(tag, []).append(value)

    def close(self) -> None:
        pass

    def tags(self, kind: str) -> set[str]:
        return {tag.removeprefix(kind) for tag in self.values if tag.startswith(kind)}


NETWORKS_OF = {"DQN": ["q_net."], "QRDQN": ["quantile_net."]}


@pytest.mark.parametrize(("algorithm", "policy"), ALGORITHMS)
def test_the_callback_logs_every_layer(algorithm, policy):
    short = {"n_steps": 4} if issubclass(algorithm, OnPolicyAlgorithm) else {}
    if short and algorithm is not stable_baselines3.A2C:
        short["batch_size"] = 4
    model = make_model(algorithm, policy, own_kwargs(policy, "coordconv-all"), **short)
    captured = Captured()
    model.set_logger(Logger(None, [captured, HumanOutputFormat(io.StringIO())]))
    model.learn(8, callback=CoordinateCallback(freq=1), log_interval=1)
    actor_critic = ["actor.", "critic."] if algorithm.__name__ in CONTINUOUS else [""]
    inside = "extractors.image." if policy.startswith("MultiInput") else ""
    layers = {
        f"{network}{inside}cnn.{i}"
        for network in NETWORKS_OF.get(algorithm.__name__, actor_critic)
        for i in (0, 2, 4)
    }
    assert captured.tags("coord/weight_share/") == layers
    assert captured.tags("coord/positional_map/") == layers
    for layer in layers:
        assert 0 < captured.values[f"coord/weight_share/{layer}"][0] < 1
        image = captured.values[f"coord/positional_map/{layer}"][0].image
        assert image.ndim == 3
        assert image.min() < 255


IMAGES = [(algorithm, policy) for algorithm, policy in ALGORITHMS if policy.startswith("Cnn")]


@pytest.mark.parametrize(("algorithm", "policy"), IMAGES)
def test_passing_only_the_class_gives_the_same_agent(algorithm, policy):
    """``dict(features_extractor_class=...)``, as for any extractor of Stable-Baselines3."""

    class Mine(CoordNatureCNN):
        pass

    named = weights(make_model(algorithm, policy, policy_kwargs("coordconv")))
    for extractor in (CoordNatureCNN, Mine):
        alone = weights(make_model(algorithm, policy, {"features_extractor_class": extractor}))
        assert [*alone] == [*named]
        assert all(alone[name].equal(value) for name, value in named.items())


def test_impala_gets_the_same_net_arch_as_nature():
    def after_extractor(name: str) -> list[str]:
        model = make_model(stable_baselines3.TD3, "CnnPolicy", policy_kwargs(name))
        return [key for key in weights(model) if "features_extractor" not in key]

    assert after_extractor("impala-coordconv") == after_extractor("nature")


def test_classes_compare_equal_to_nature_cnn_and_themselves_only():
    assert CoordNatureCNN == NatureCNN
    assert NatureCNN == CoordImpalaCNN
    assert CoordNatureCNN != CoordImpalaCNN
    assert CoordNatureCNN == CoordNatureCNN
    assert len({NatureCNN, CoordNatureCNN, CoordImpalaCNN}) == 3


def test_an_agent_saved_with_an_explicit_net_arch_loads(tmp_path):
    """Earlier versions of `policy_kwargs` set ``net_arch``."""
    kwargs = {**policy_kwargs("coordconv"), "net_arch": []}
    model = make_model(stable_baselines3.SAC, "CnnPolicy", kwargs)
    model.save(tmp_path / "agent")
    loaded = weights(stable_baselines3.SAC.load(tmp_path / "agent"))
    assert all(loaded[name].equal(value) for name, value in weights(model).items())
