"""Test `CoordinateCallback`; ``test_algorithms.py`` tests it with every algorithm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from games import WhereIsTheSquare
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import NatureCNN

from rl_coordconv import CoordinateCallback, convert, policy_kwargs
from rl_coordconv.callbacks import positional_map_images, weight_shares
from rl_coordconv.runs.checkpoint import rng_state


def make_model(name: str = "coordconv", **own) -> A2C:
    env = make_vec_env(WhereIsTheSquare, n_envs=2, seed=0)
    return A2C("CnnPolicy", env, seed=0, policy_kwargs=policy_kwargs(name, **own), device="cpu")


class Times(CoordinateCallback):
    """Records the steps at which it logs."""

    def __init__(self, freq: int) -> None:
        super().__init__(freq)
        self.steps: list[int] = []

    def _log(self) -> None:
        self.steps.append(self.num_timesteps)


def test_weight_share_is_a_share_of_the_squared_norm():
    model = make_model(ortho_init=False)
    layer = model.policy.features_extractor.cnn[0]
    with torch.no_grad():
        layer.weight.fill_(1.0)
    assert weight_shares(model.policy) == {"cnn.0": pytest.approx(2 / 3)}  # 2 of 3 channels


def test_layers_of_separate_extractors_have_distinct_names():
    model = make_model("coordconv-r", share_features_extractor=False)
    assert [*weight_shares(model.policy)] == ["cnn.0", "vf_features_extractor.cnn.0"]
    assert positional_map_images(model.policy).keys() == weight_shares(model.policy).keys()


def test_a_converted_agent_is_logged_but_a_plain_one_is_not():
    env = make_vec_env(WhereIsTheSquare, n_envs=2)
    model = A2C("CnnPolicy", env, device="cpu")
    assert isinstance(model.policy.features_extractor, NatureCNN)
    assert weight_shares(model.policy) == {} == positional_map_images(model.policy)
    model.learn(20, callback=CoordinateCallback())
    convert(model.policy, "first", optimizer=model.policy.optimizer)
    assert weight_shares(model.policy) == {"cnn.0": 0.0}


def test_it_logs_every_freq_steps_and_again_in_a_new_training():
    times, model = Times(30), make_model()
    model.learn(100, callback=times)  # ten steps a rollout
    model.learn(40, callback=times, reset_num_timesteps=False)
    model.learn(40, callback=times)
    assert times.steps == [10, 40, 70, 100, 110, 140, 10, 40]


@pytest.mark.parametrize("freq", [0, -1, 1.5, "10"])
def test_a_wrong_freq_is_an_error(freq):
    with pytest.raises(ValueError, match="freq must be a positive integer, not"):
        CoordinateCallback(freq)


def test_it_does_not_change_the_training():
    weights = []
    for callback in (None, CoordinateCallback(freq=1)):
        model = make_model("coordconv-all").learn(60, callback=callback)
        weights.append(torch.cat([p.detach().flatten() for p in model.policy.parameters()]))
    assert torch.equal(*weights)


def test_drawing_changes_no_random_state_hooks_or_gradients():
    model = make_model()
    before = rng_state()
    images = positional_map_images(model.policy)
    assert images["cnn.0"].dtype == np.uint8
    assert torch.equal(rng_state()["torch"], before["torch"])
    layer = model.policy.features_extractor.cnn[0]
    assert not layer._forward_pre_hooks
    assert all(p.grad is None for p in model.policy.parameters())


def test_images_do_not_depend_on_torchs_default_device_and_dtype():
    model = make_model()
    expected = positional_map_images(model.policy)["cnn.0"]
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert np.array_equal(positional_map_images(model.policy)["cnn.0"], expected)
    finally:
        torch.set_default_dtype(torch.float32)
