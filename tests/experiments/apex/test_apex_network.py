"""The network that RLlib trains, and the same one as a Stable-Baselines3 agent."""

import pytest
import torch
from apex_runs import config
from gymnasium import spaces
from torch.testing import assert_close

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.apex.agent import load_weights, make_agent
from rl_coordconv.experiments.apex.network import DuelingHead, DuelingNetwork
from rl_coordconv.names import NAMES

N_ACTIONS = 9  # of Ms. Pac-Man


@pytest.fixture(scope="module")
def env():
    env = make_atari_env("MsPacman", 1)
    yield env
    env.close()


def images(n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (n, 4, 84, 84), dtype=torch.uint8, generator=generator)


def n_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("extractor", NAMES)
def test_the_agent_computes_the_same_with_the_same_weights(extractor, env):
    network = DuelingNetwork(extractor, (4, 84, 84), N_ACTIONS, hidden=16)
    agent = make_agent(config(extractor=extractor, hidden=16), env, "cpu")
    assert n_parameters(network) == n_parameters(agent.policy.q_net)
    with torch.no_grad():
        assert not torch.equal(network(images(2)), agent.policy.q_net(images(2)))
        load_weights(agent, network.state_dict(), step=7)
        assert_close(agent.policy.q_net(images(2)), network(images(2)), rtol=0, atol=0)
    assert agent.num_timesteps == 7


def test_coordconv_has_more_weights_than_nature_in_its_first_layer_only():
    nature, coordconv = (
        DuelingNetwork(name, (4, 84, 84), N_ACTIONS, hidden=16) for name in ("nature", "coordconv")
    )
    assert n_parameters(coordconv) - n_parameters(nature) == 32 * 2 * 8 * 8
    assert n_parameters(coordconv.head) == n_parameters(nature.head)


def test_q_values_are_the_value_and_the_centred_advantages():
    head = DuelingHead(features_dim=1, n_actions=3, hidden=1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.value[2].bias.fill_(5.0)
        head.advantage[2].bias.copy_(torch.tensor([1.0, 2.0, 6.0]))
        assert_close(head(torch.zeros(1, 1)), torch.tensor([[3.0, 4.0, 8.0]]))


def test_an_agent_is_saved_and_loaded_with_its_streams(env, tmp_path):
    agent = make_agent(config(hidden=16), env, "cpu")
    agent.save(tmp_path / "agent.zip")
    loaded = type(agent).load(tmp_path / "agent.zip", device="cpu")
    with torch.no_grad():
        assert torch.equal(loaded.policy.q_net(images(2)), agent.policy.q_net(images(2)))
    assert loaded.exploration_rate == 0.001


@pytest.fixture
def module(rllib):
    """RLlib's module with a network of 16 hidden units, and with target networks."""
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from rl_coordconv.experiments.apex.module import ApexModule

    module = RLModuleSpec(
        module_class=ApexModule,
        observation_space=spaces.Box(0, 255, (4, 84, 84), "uint8"),
        action_space=spaces.Discrete(N_ACTIONS),
        model_config={"extractor": "coordconv", "hidden": 16, "precision": "float32"},
    ).build()
    module.make_target_networks()
    return module


class TestModule:
    def test_plays_greedily_without_exploration(self, module):
        actions = module.forward_inference({"obs": images(5)})["actions"]
        with torch.no_grad():
            assert torch.equal(actions, module.network(images(5)).argmax(dim=1))

    def test_explores_with_the_rate_of_each_game(self, module):
        module.set_exploration([0.0, 1.0])
        game = images(1).repeat(2, 1, 1, 1)
        greedy = int(module.forward_inference({"obs": game})["actions"][0])
        steps = [module.forward_exploration({"obs": game})["actions"] for _ in range(40)]
        first, second = torch.stack(steps).T.tolist()
        assert set(first) == {greedy}
        assert len(set(second)) > 4  # of nine actions

    def test_trains_on_the_target_networks_values(self, module):
        module.get_target_network_pairs()[0][1].head.value[2].bias.data.fill_(5.0)
        out = module.forward_train({"obs": images(3), "new_obs": images(6)[3:]})
        with torch.no_grad():
            assert_close(out["qf_preds"], module.network(images(3)))
            assert_close(out["qf_next_preds"], module.network(images(6)[3:]))
        assert not torch.equal(out["qf_target_next_preds"], out["qf_next_preds"])
