"""Test the conversion of networks that already have an optimiser, and of SB3 agents."""

import copy
from functools import partial

import pytest
import torch
from games import WhereIsTheSquare
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import nn
from torch.testing import assert_close

from rl_coordconv import convert, policy_kwargs

OPTIMISERS = {
    "SGD": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "RMSprop": partial(torch.optim.RMSprop, lr=1e-3, centered=True, momentum=0.9),
    "RMSpropTFLike": partial(RMSpropTFLike, lr=1e-3),
    "Adam": partial(torch.optim.Adam, lr=1e-3, amsgrad=True),
    "fused": partial(torch.optim.Adam, lr=1e-3, fused=True),
    "AdamW": partial(torch.optim.AdamW, lr=1e-3),
    "Adagrad": torch.optim.Adagrad,
    "Adadelta": torch.optim.Adadelta,
    "Adamax": torch.optim.Adamax,
    "Rprop": torch.optim.Rprop,
}


def train(network, optimiser, x):
    for _ in range(3):
        optimiser.zero_grad()
        network(x).square().mean().backward()
        optimiser.step()


class TestOptimizer:
    @pytest.mark.parametrize("plain", [nn.Conv2d, nn.ConvTranspose2d])
    @pytest.mark.parametrize("kind", OPTIMISERS)
    def test_trains_the_input_weights_as_before(self, kind, plain):
        torch.manual_seed(0)
        network, x = nn.Sequential(plain(4, 6, 3), nn.Conv2d(6, 4, 3)), torch.rand(2, 4, 6, 6)
        optimiser = OPTIMISERS[kind](network.parameters())
        train(network, optimiser, x)
        twin, twins_optimiser = copy.deepcopy((network, optimiser))
        convert(network, "first", optimizer=optimiser)
        over_input = network[0].with_zero_coords(torch.ones_like(twin[0].weight))
        network[0].weight.register_hook(lambda grad: grad * over_input)
        train(network, optimiser, x)
        train(twin, twins_optimiser, x)
        assert_close(network[0].split_weight()[0], twin[0].weight)
        assert_close(network(x), twin(x))

    @pytest.mark.parametrize("kind", OPTIMISERS)
    def test_steps_of_coordinate_and_input_weights_are_of_similar_size(self, kind):
        torch.manual_seed(0)
        network, x = nn.Sequential(nn.Conv2d(4, 6, 3)), torch.rand(2, 4, 6, 6)
        optimiser = OPTIMISERS[kind](network.parameters())
        train(network, optimiser, x)
        convert(network, optimizer=optimiser)
        before = network[0].weight.detach().clone()
        train(network, optimiser, x)
        moved = (network[0].weight - before).abs().amax(dim=(0, 2, 3))
        assert 0 < moved[4:].max() < 3 * moved[:4].max()

    @pytest.mark.parametrize("kind", OPTIMISERS)
    def test_does_not_change_coordinate_weights_without_gradients(self, kind):
        """Momentum of the input weights, here all of one sign, does not carry over."""
        network, x = nn.Sequential(nn.Conv2d(4, 6, 3)), torch.rand(2, 4, 6, 6)
        optimiser = OPTIMISERS[kind](network.parameters())
        network(x).sum().backward()
        optimiser.step()
        convert(network, optimizer=optimiser)
        network[0].weight.grad = torch.zeros_like(network[0].weight)
        optimiser.step()
        assert not network[0].split_weight()[1].any()

    def test_has_the_weight_in_the_same_group_and_can_be_saved_and_loaded(self):
        network, x = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 2, 3)), torch.rand(2, 4, 6, 6)
        groups = [
            {"params": network[1].parameters(), "lr": 0.1},
            {"params": network[0].parameters(), "lr": 0.2},
        ]
        optimiser = torch.optim.Adam(groups)
        train(network, optimiser, x)
        convert(network, "first", optimizer=optimiser)
        weight, bias = optimiser.param_groups[1]["params"]
        assert weight is network[0].weight
        assert bias is network[0].bias
        optimiser.load_state_dict(optimiser.state_dict())
        train(network, optimiser, x)
        assert network[0].weight[:, 4:].abs().min() > 0

    def test_several_optimizers_are_accepted(self):
        """SAC-AE trains its encoder by two optimisers."""
        network = nn.Sequential(nn.Conv2d(4, 6, 3))
        optimisers = [torch.optim.SGD(network.parameters(), lr=0.1) for _ in range(2)]
        convert(network, optimizer=optimisers)
        for optimiser in optimisers:
            assert optimiser.param_groups[0]["params"][0] is network[0].weight

    @pytest.mark.parametrize("given", [False, True])
    def test_an_optimizer_that_is_not_passed_is_a_warning(self, given):
        network = nn.Sequential(nn.Conv2d(4, 6, 3))
        first, second = (torch.optim.Adam(network.parameters()) for _ in range(2))
        with pytest.warns(
            UserWarning, match=r"pass it as convert\(\.\.\., optimizer=\.\.\.\)"
        ) as seen:
            convert(network, optimizer=[first] if given else ())
        assert seen[0].filename == __file__
        assert second.param_groups[0]["params"][0] is not network[0].weight

    @pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.LBFGS])
    def test_state_of_other_shapes_is_an_error(self, kind):
        network, x = nn.Sequential(nn.Conv2d(4, 6, 3)), torch.rand(2, 4, 6, 6)
        optimiser = kind(network.parameters())

        def loss():
            optimiser.zero_grad()
            value = network(x).square().mean()
            value.backward()
            return value.detach()

        optimiser.step(loss)
        with pytest.raises(
            ValueError, match=f"{kind.__name__}.* create the optimiser after converting"
        ):
            convert(network, optimizer=optimiser)
        assert type(network[0]) is nn.Conv2d
        optimiser.step(loss)

    def test_an_optimizer_that_trains_none_of_the_layers_is_an_error(self):
        network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 4, 3))
        optimiser = torch.optim.Adam(network[1].parameters())
        with pytest.raises(ValueError, match="trains none"):
            convert(network, "first", optimizer=optimiser)
        assert type(network[0]) is nn.Conv2d
        convert(network, optimizer=optimiser)
        assert optimiser.param_groups[0]["params"][0] is network[1].weight


class TestStableBaselines3:
    @pytest.mark.parametrize("algorithm", [A2C, PPO])
    def test_an_agent_learns_with_coordinates_and_can_be_loaded(self, algorithm, tmp_path):
        options = {"device": "cpu", "seed": 0, "n_steps": 8}
        options |= {"batch_size": 8} if algorithm is PPO else {}
        model = algorithm("CnnPolicy", WhereIsTheSquare(), **options)
        model.learn(8)
        observations = torch.rand(3, 1, 36, 36)
        before = model.policy.predict_values(observations)
        convert(model.policy.features_extractor, "first", optimizer=model.policy.optimizer)
        layer = model.policy.features_extractor.cnn[0]
        assert_close(model.policy.predict_values(observations), before)
        model.learn(8)
        assert layer.weight[:, 1:].abs().max() > 0
        model.save(tmp_path / "model.zip")
        twin = algorithm(
            "CnnPolicy", WhereIsTheSquare(), policy_kwargs=policy_kwargs("coordconv"), **options
        )
        twin.set_parameters(tmp_path / "model.zip")
        for agent in (model, twin):
            agent.set_random_seed(0)
            agent.learn(8)
        assert_close(
            twin.policy.predict_values(observations), model.policy.predict_values(observations)
        )

    def test_an_agents_optimizer_that_is_not_passed_is_a_warning(self):
        model = A2C("CnnPolicy", WhereIsTheSquare(), device="cpu")
        with pytest.warns(UserWarning, match="old weights"):
            convert(model.policy.features_extractor, "first")

    def test_the_target_network_can_be_converted_too(self):
        model = DQN("CnnPolicy", WhereIsTheSquare(), buffer_size=1, device="cpu")
        convert(model.q_net, "first", optimizer=model.policy.optimizer)
        convert(model.q_net_target, "first")
        polyak = [p.shape for p in model.q_net.parameters()]
        assert polyak == [p.shape for p in model.q_net_target.parameters()]
