import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from games import WhereIsTheSquare
from gymnasium import spaces
from sb3_contrib import QRDQN, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN

from rl_coordconv import (
    EXTRACTORS,
    CoordCombinedExtractor,
    CoordConv2d,
    CoordImpalaCNN,
    CoordNatureCNN,
    policy_kwargs,
)
from rl_coordconv.networks import build_network
from rl_coordconv.runs.checkpoint import rng_state

ATARI = spaces.Box(0, 255, (4, 84, 84), np.uint8)


def make_extractor(name: str, space: spaces.Box = ATARI, **options):
    network, settings = EXTRACTORS[name]
    return network(space, **{**settings, **options})


def n_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


class TestNature:
    def test_has_the_weights_and_output_of_sb3s_nature_cnn(self):
        torch.manual_seed(0)
        theirs = NatureCNN(ATARI)
        torch.manual_seed(0)
        ours = make_extractor("nature")
        assert theirs.state_dict().keys() == ours.state_dict().keys()
        for name, value in theirs.state_dict().items():
            assert torch.equal(value, ours.state_dict()[name]), name
        images = torch.rand(3, 4, 84, 84)
        torch.testing.assert_close(theirs(images), ours(images))  # ours: channels-last

    def test_is_initialised_like_sb3s_inside_a_policy(self):
        env = make_vec_env(WhereIsTheSquare, n_envs=2)
        theirs = A2C("CnnPolicy", env, seed=0).policy.state_dict()
        kwargs = policy_kwargs("nature")
        ours = A2C("CnnPolicy", env, seed=0, policy_kwargs=kwargs).policy.state_dict()
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


# Weights of the extra channels: out x channels x kernel, summed over the layers that have them.
NATURE_FIRST, NATURE_OTHERS = 32 * 2 * 8 * 8, 64 * 2 * 4 * 4 + 64 * 2 * 3 * 3
IMPALA_ALL = 2 * 9 * (5 * 16 + 5 * 32 + 5 * 32)


@pytest.mark.parametrize(
    ("name", "control", "extra"),
    [
        ("coordconv", "nature", NATURE_FIRST),
        ("coordconv-all", "nature", NATURE_FIRST + NATURE_OTHERS),
        ("coordconv-r", "nature", NATURE_FIRST * 3 // 2),
        ("nature-zeros", "nature", NATURE_FIRST),
        ("nature-noise", "nature", NATURE_FIRST),
        ("nature-gap-coordconv", "nature-gap", NATURE_FIRST),
        ("nature-gap-noise", "nature-gap", NATURE_FIRST),
        ("impala-coordconv", "impala", 16 * 2 * 9),
        ("impala-coordconv-all", "impala", IMPALA_ALL),
    ],
)
@pytest.mark.parametrize("algorithm", [A2C, PPO, DQN])
def test_variants_differ_by_exactly_the_coordinate_weights(algorithm, name, control, extra):
    env = make_vec_env(WhereIsTheSquare)
    options = {"buffer_size": 10} if algorithm is DQN else {}
    variants = [
        algorithm("CnnPolicy", env, policy_kwargs=policy_kwargs(which), **options)
        for which in (name, control)
    ]
    # DQN has the extractor twice, the second in its target network.
    copies = 2 if algorithm is DQN else 1
    assert n_parameters(variants[0].policy) - n_parameters(variants[1].policy) == copies * extra


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_equals_the_network_of_its_name(name, precision):
    torch.manual_seed(0)
    network = build_network(name, ATARI.shape, precision=precision)
    torch.manual_seed(0)
    extractor = make_extractor(name, precision=precision)
    images = torch.rand(2, 4, 84, 84)
    assert extractor(images).equal(network(images))
    network.load_state_dict(extractor.state_dict())  # fits
    assert [name for name, _ in network.named_parameters()] == [*extractor.state_dict()]


@pytest.mark.parametrize("name", EXTRACTORS)
@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 60, 40), (3, 36, 36)])
def test_takes_its_size_from_the_space(name, shape):
    space = spaces.Box(0, 255, shape, np.uint8)
    features = make_extractor(name, space, features_dim=16)(torch.rand(2, *shape))
    assert features.shape == (2, 16)
    assert features.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"coordinates": "last"}, "no placement 'last'"),
        ({"control": "foo"}, "no control 'foo'"),
        ({"precision": "fp16"}, r"did you mean bf16\?"),
        ({"with_r": "no"}, "with_r must be True or False, not 'no'"),
        ({"global_pooling": "no"}, "global_pooling must be True or False, not 'no'"),
        ({"normalized_image": "False"}, "normalized_image must be True or False, not 'False'"),
        ({"features_dim": -1}, "features_dim must be a positive integer, not -1"),
        ({"features_dim": 64.0}, "features_dim must be a positive integer, not 64.0"),
    ],
)
def test_a_wrong_argument_is_an_error(settings, sentence):
    for network in (CoordNatureCNN, CoordImpalaCNN):
        with pytest.raises(ValueError, match=sentence):
            network(ATARI, **settings)
    combined = {"cnn_output_dim" if k == "features_dim" else k: v for k, v in settings.items()}
    with pytest.raises(ValueError, match=sentence):
        CoordCombinedExtractor(spaces.Dict({"image": ATARI}), **combined)


def test_policy_kwargs_accept_layer_indices():
    env = make_vec_env(WhereIsTheSquare)
    kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"coordinates": [1, "cnn.4"]})
    policy = A2C("CnnPolicy", env, policy_kwargs=kwargs).policy
    layers = [type(policy.features_extractor.cnn[i]) for i in (0, 2, 4)]
    assert layers == [torch.nn.Conv2d, CoordConv2d, CoordConv2d]


@pytest.mark.parametrize("name", ["coordconv", "impala-coordconv-all"])
def test_sb3s_orthogonal_initialisation_applies_to_the_layer(name):
    env = make_vec_env(WhereIsTheSquare)
    policy = A2C("CnnPolicy", env, policy_kwargs=policy_kwargs(name)).policy
    for layer in policy.modules():
        if isinstance(layer, CoordConv2d):
            rows = layer.weight.flatten(1)
            gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
            assert torch.allclose(gram, 2 * torch.eye(len(gram)), atol=1e-4)  # gain sqrt(2)
            assert not layer.bias.any()


def test_construction_draws_random_numbers_for_weights_only():
    ATARI.seed(0)
    before = ATARI.np_random.bit_generator.state
    make_extractor("coordconv")
    assert ATARI.np_random.bit_generator.state == before
    torch.manual_seed(0)
    torch.nn.Sequential(  # makes the same draws
        torch.nn.Conv2d(6, 32, 8),
        torch.nn.Conv2d(32, 64, 4),
        torch.nn.Conv2d(64, 64, 3),
        torch.nn.Linear(3136, 512),
    )
    after_weights = rng_state()
    torch.manual_seed(0)
    make_extractor("coordconv")
    assert torch.equal(rng_state()["torch"], after_weights["torch"])


class TestObservationSpaces:
    def test_scaled_float_images_are_accepted_with_normalize_images_false(self):
        class Scaled(WhereIsTheSquare):
            def __init__(self):
                super().__init__()
                self.observation_space = spaces.Box(0, 1, (1, 36, 36), np.float32)

            def _draw(self):
                return super()._draw().astype(np.float32)

        kwargs = policy_kwargs("coordconv", normalize_images=False)
        model = A2C("CnnPolicy", make_vec_env(Scaled), policy_kwargs=kwargs).learn(10)
        assert isinstance(model.policy.features_extractor, CoordNatureCNN)

    @pytest.mark.parametrize(
        ("space", "sentence"),
        [
            (spaces.Box(0, 255, (84, 84, 4), np.uint8), "channels-last.*VecTransposeImage"),
            (spaces.Box(0, 1, (5,), np.float32), "MlpPolicy"),
            (spaces.Discrete(3), "MlpPolicy"),
            (spaces.Box(0, 1, (3, 84, 84), np.float32), "normalize_images=False"),
            (spaces.Box(0, 255, (3, 20, 20), np.uint8), "too small"),
            (spaces.Dict({"image": ATARI}), "CoordCombinedExtractor"),
        ],
    )
    def test_unsupported_spaces_are_an_error_with_advice(self, space, sentence):
        with pytest.raises(ValueError, match=sentence):
            CoordNatureCNN(space)

    @pytest.mark.parametrize("shape", [(14, 10, 9), (12, 20, 10), (64, 50, 40), (5, 4, 3)])
    @pytest.mark.parametrize("box", [(0, 1, np.float32), (0, 1, np.uint8), (-1, 1, np.float64)])
    def test_boards_with_many_channels_are_accepted_with_normalize_images_false(self, shape, box):
        low, high, dtype = box
        space = spaces.Box(low, high, shape, dtype)
        kwargs = policy_kwargs("impala-coordconv", normalize_images=False)
        make = ActorCriticCnnPolicy(space, spaces.Discrete(2), lambda _: 1e-3, **kwargs)
        assert make.features_extractor.cnn[0].in_channels == shape[0]
        inside = CoordCombinedExtractor(
            spaces.Dict({"board": space}), normalized_image=True, extractor="impala-coordconv"
        )
        assert inside.extractors["board"].cnn[0].in_channels == shape[0]

    def test_normalized_image_allows_shapes_that_look_channels_last(self):
        space = spaces.Box(0, 255, (64, 50, 40), np.uint8)
        with pytest.raises(ValueError, match="look channels-last.*normalized_image=True"):
            CoordNatureCNN(space)
        assert CoordNatureCNN(space, normalized_image=True).cnn[0].in_channels == 64

    def test_an_undetected_channels_last_image_is_an_error_with_advice(self):
        space = spaces.Box(0, 1, (84, 84, 4), np.float32)
        with pytest.raises(ValueError, match="84x4 pixels are too small.*channels to the front"):
            CoordNatureCNN(space, normalized_image=True)

    @pytest.mark.parametrize("name", ["nature", "coordconv"])
    def test_a_dict_without_images_is_an_error(self, name):
        vectors = spaces.Dict({"vector": spaces.Box(-1, 1, (3,))})
        scaled = spaces.Dict({"image": spaces.Box(0, 1, (4, 84, 84), np.float32)})
        for space in (vectors, scaled):
            with pytest.raises(ValueError, match="no image.*normalize_images=False"):
                CoordCombinedExtractor(space, extractor=name)

    def test_impala_accepts_tiny_images(self):
        tiny = spaces.Box(0, 255, (1, 7, 5), np.uint8)
        assert CoordImpalaCNN(tiny)(torch.rand(2, 1, 7, 5)).shape == (2, 256)


class TestPolicyKwargs:
    def test_returns_a_new_dict_each_time(self):
        first, second = policy_kwargs("coordconv"), policy_kwargs("coordconv")
        first["features_extractor_kwargs"]["normalized_image"] = True
        assert second == policy_kwargs("coordconv")
        assert "normalized_image" not in EXTRACTORS["coordconv"][1]

    def test_is_unaffected_by_an_algorithm_that_modifies_it(self):
        kwargs = policy_kwargs("coordconv")
        A2C("CnnPolicy", make_vec_env(WhereIsTheSquare), policy_kwargs=kwargs)
        assert policy_kwargs("coordconv") != kwargs  # A2C added its optimiser
        assert "optimizer_class" not in policy_kwargs("coordconv")

    def test_keeps_the_callers_entries(self):
        own = {
            "optimizer_class": torch.optim.SGD,
            "optimizer_kwargs": {"momentum": 0.9},
            "net_arch": [32],
            "features_extractor_kwargs": {"features_dim": 8, "with_r": True},
        }
        kwargs = policy_kwargs("coordconv-all", **own)
        assert kwargs["optimizer_class"] is torch.optim.SGD
        assert kwargs["optimizer_kwargs"] == {"momentum": 0.9}
        assert kwargs["net_arch"] == [32]
        assert kwargs["features_extractor_kwargs"] == {
            "coordinates": "all",
            "features_dim": 8,
            "with_r": True,
        }
        assert own["features_extractor_kwargs"] == {"features_dim": 8, "with_r": True}

    def test_suggests_the_nearest_extractor(self):
        with pytest.raises(ValueError, match=r"did you mean coordconv\?"):
            policy_kwargs("cordconv")

    def test_does_not_set_net_arch(self):
        assert "net_arch" not in policy_kwargs("coordconv")

    def test_accepts_none_as_extractor_kwargs(self):
        kwargs = policy_kwargs("coordconv", features_extractor_kwargs=None)
        assert kwargs == policy_kwargs("coordconv")

    @pytest.mark.parametrize("setting", ["with_r", "coordinates", "precision", "features_dim"])
    def test_says_where_a_setting_of_the_extractor_goes(self, setting):
        with pytest.raises(ValueError, match=f"features_extractor_kwargs={{'{setting}': 1}}"):
            policy_kwargs("coordconv", **{setting: 1})

    def test_another_extractor_class_is_an_error(self):
        with pytest.raises(ValueError, match="conflicts with .coordconv."):
            policy_kwargs("coordconv", features_extractor_class=NatureCNN)


class TestDictObservations:
    def make_model(self, **kwargs) -> A2C:
        env = make_vec_env(WhereIsTheSquare, env_kwargs={"with_vector": True})
        return A2C("MultiInputPolicy", env, policy_kwargs=kwargs, seed=0)

    def test_nature_equals_sb3s_combined_extractor(self):
        theirs = self.make_model()
        assert isinstance(theirs.policy.features_extractor, CombinedExtractor)
        ours = self.make_model(
            features_extractor_class=CoordCombinedExtractor,
            features_extractor_kwargs={"extractor": "nature"},
        )
        expected = theirs.policy.state_dict()
        assert ours.policy.state_dict().keys() == expected.keys()
        assert all(torch.equal(expected[k], v) for k, v in ours.policy.state_dict().items())

    def test_the_image_gets_coordinates(self):
        model = self.make_model(features_extractor_class=CoordCombinedExtractor).learn(20)
        difference = n_parameters(model.policy) - n_parameters(self.make_model().policy)
        assert difference == NATURE_FIRST

    def test_the_wrong_policy_is_an_error_that_names_the_right_one(self):
        env = make_vec_env(WhereIsTheSquare, env_kwargs={"with_vector": True})
        with pytest.raises(ValueError, match="features_extractor_class=CoordCombinedExtractor"):
            A2C("MultiInputPolicy", env, policy_kwargs=policy_kwargs("coordconv"))
        kwargs = policy_kwargs("coordconv", features_extractor_class=CoordCombinedExtractor)
        with pytest.raises(ValueError, match="needs Dict observations.*CnnPolicy"):
            A2C("CnnPolicy", make_vec_env(WhereIsTheSquare), policy_kwargs=kwargs)

    def test_an_unknown_extractor_is_an_error(self):
        with pytest.raises(ValueError, match=r"did you mean impala\?"):
            CoordCombinedExtractor(spaces.Dict({"image": ATARI}), extractor="impalla")


def test_a2c_learns_to_locate_the_square():
    env = make_vec_env(WhereIsTheSquare, n_envs=16, seed=0)
    kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"features_dim": 64})
    model = A2C("CnnPolicy", env, seed=0, policy_kwargs=kwargs)
    model.learn(8_000)
    assert evaluate_policy(model, env, n_eval_episodes=200)[0] > 0.9  # guessing earns 0.25


ALGORITHMS: dict[str, tuple[type[BaseAlgorithm], str, dict]] = {
    "A2C": (A2C, "CnnPolicy", {"n_steps": 8}),
    "PPO": (PPO, "CnnPolicy", {"n_steps": 8, "batch_size": 8}),
    "DQN": (DQN, "CnnPolicy", {"buffer_size": 50, "learning_starts": 8}),
    "QRDQN": (QRDQN, "CnnPolicy", {"buffer_size": 50, "learning_starts": 8}),
    "RecurrentPPO": (RecurrentPPO, "CnnLstmPolicy", {"n_steps": 8, "batch_size": 8}),
}

LOAD_AND_PREDICT = """
import json, sys
import numpy as np, sb3_contrib, stable_baselines3
folder, *names = sys.argv[1:]
images = np.load(f"{folder}/images.npy")
for name in names:
    algorithm = getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name)
    model = algorithm.load(f"{folder}/{name}.zip")
    print(json.dumps(model.predict(images, deterministic=True)[0].tolist()))
"""


def test_models_predict_the_same_in_a_new_process(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 36, 36), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    expected = []
    for name, (algorithm, policy, options) in ALGORITHMS.items():
        kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"features_dim": 8})
        env = make_vec_env(WhereIsTheSquare, seed=0)
        model = algorithm(policy, env, policy_kwargs=kwargs, seed=0, **options).learn(40)
        layer = model.policy.get_submodule(
            "quantile_net.features_extractor.cnn.0"
            if name == "QRDQN"
            else "q_net.features_extractor.cnn.0"
            if name == "DQN"
            else "features_extractor.cnn.0"
        )
        assert isinstance(layer, CoordConv2d)
        expected.append(model.predict(images, deterministic=True)[0].tolist())
        model.save(tmp_path / name)
    command = [sys.executable, "-c", LOAD_AND_PREDICT, str(tmp_path), *ALGORITHMS]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [json.loads(line) for line in output.splitlines()] == expected
