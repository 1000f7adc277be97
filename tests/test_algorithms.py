"""Every algorithm of Stable-Baselines3 and sb3-contrib that has policies for images."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from rl_coordconv import CoordCombinedExtractor, CoordImpalaCNN, CoordNatureCNN, policy_kwargs

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
    """Black images, as a Dict with a vector if asked."""

    def __init__(self, discrete: bool, with_vector: bool) -> None:
        image = spaces.Box(0, 255, (2, 36, 36), np.uint8)
        vector = spaces.Box(-1, 1, (3,), np.float32)
        self.observation_space: spaces.Space[Any] = (
            spaces.Dict({"image": image, "vector": vector}) if with_vector else image
        )
        self.action_space: spaces.Space[Any] = (
            spaces.Discrete(3) if discrete else spaces.Box(-1, 1, (2,), np.float32)
        )


def make_model(
    algorithm: type[BaseAlgorithm], policy: str, kwargs: dict[str, Any] | None
) -> BaseAlgorithm:
    discrete = algorithm.__name__ not in CONTINUOUS
    env = DummyVecEnv([lambda: Blank(discrete, policy.startswith("MultiInput"))])
    options = {"buffer_size": 1} if issubclass(algorithm, OffPolicyAlgorithm) else {}
    return algorithm(policy, env, policy_kwargs=kwargs, seed=0, device="cpu", **options)


def weights(model: BaseAlgorithm) -> dict[str, Tensor]:
    return model.policy.state_dict()


def own_kwargs(policy: str, name: str, **own: Any) -> dict[str, Any]:
    if policy.startswith("MultiInput"):
        own["features_extractor_class"] = CoordCombinedExtractor
    return policy_kwargs(name, **own)


def test_all_algorithms_with_images_are_here():
    names = {algorithm.__name__ for algorithm, _ in ALGORITHMS}
    assert names >= {"A2C", "PPO", "DQN", "SAC", "TD3", "DDPG"}
    assert names >= {"QRDQN", "TQC", "TRPO", "MaskablePPO", "RecurrentPPO"}


@pytest.mark.parametrize(("algorithm", "policy"), ALGORITHMS)
class TestEveryAlgorithm:
    def test_nature_is_the_algorithms_own_policy(self, algorithm, policy):
        theirs = weights(make_model(algorithm, policy, None))
        ours = weights(make_model(algorithm, policy, own_kwargs(policy, "nature")))
        assert [*ours] == [*theirs]
        assert all(ours[name].equal(value) for name, value in theirs.items())

    def test_coordconv_adds_the_coordinate_weights_alone(self, algorithm, policy):
        nature = weights(make_model(algorithm, policy, own_kwargs(policy, "nature")))
        coordconv = weights(make_model(algorithm, policy, own_kwargs(policy, "coordconv")))
        assert [*coordconv] == [*nature]
        wider = {name for name in nature if coordconv[name].shape != nature[name].shape}
        assert wider == {name for name in nature if name.endswith("cnn.0.weight")} != set()
        assert all(nature[name].shape == (32, 2, 8, 8) for name in wider)
        assert all(coordconv[name].shape == (32, 4, 8, 8) for name in wider)

    def test_own_layers_after_the_extractor_are_those_of_the_algorithm(self, algorithm, policy):
        theirs = weights(make_model(algorithm, policy, {"net_arch": [7]}))
        ours = weights(make_model(algorithm, policy, own_kwargs(policy, "nature", net_arch=[7])))
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


IMAGES = [(algorithm, policy) for algorithm, policy in ALGORITHMS if policy.startswith("Cnn")]


@pytest.mark.parametrize(("algorithm", "policy"), IMAGES)
def test_the_class_alone_gets_the_same_layers_after_it(algorithm, policy):
    """``dict(features_extractor_class=...)``, as for any extractor of Stable-Baselines3."""

    class Mine(CoordNatureCNN):
        pass

    named = weights(make_model(algorithm, policy, policy_kwargs("coordconv")))
    for extractor in (CoordNatureCNN, Mine):
        alone = weights(make_model(algorithm, policy, {"features_extractor_class": extractor}))
        assert [*alone] == [*named]
        assert all(alone[name].equal(value) for name, value in named.items())


def test_impala_gets_the_layers_that_nature_gets():
    def after_extractor(name: str) -> list[str]:
        model = make_model(stable_baselines3.TD3, "CnnPolicy", policy_kwargs(name))
        return [key for key in weights(model) if "features_extractor" not in key]

    assert after_extractor("impala-coordconv") == after_extractor("nature")


def test_classes_equal_natures_and_themselves_only():
    assert CoordNatureCNN == NatureCNN
    assert NatureCNN == CoordImpalaCNN
    assert CoordNatureCNN != CoordImpalaCNN
    assert CoordNatureCNN == CoordNatureCNN
    assert len({NatureCNN, CoordNatureCNN, CoordImpalaCNN}) == 3


def test_an_agent_with_heads_named_by_hand_still_loads(tmp_path):
    """As `policy_kwargs` named them before."""
    kwargs = {**policy_kwargs("coordconv"), "net_arch": []}
    model = make_model(stable_baselines3.SAC, "CnnPolicy", kwargs)
    model.save(tmp_path / "agent")
    loaded = weights(stable_baselines3.SAC.load(tmp_path / "agent"))
    assert all(loaded[name].equal(value) for name, value in weights(model).items())
