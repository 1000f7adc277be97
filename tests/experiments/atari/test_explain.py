import numpy as np
import pytest
import torch
from atari_commands import evaluate, train
from figures import missing
from matplotlib.figure import Figure
from PIL import Image
from stable_baselines3 import A2C

from rl_coordconv import CoordConv2d, policy_kwargs
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.atari.explain import (
    layer_input,
    response_shares,
    without_coordinates,
)
from rl_coordconv.networks import coordconv_layers
from rl_coordconv.runs.folder import Run


@pytest.fixture(scope="module")
def agent() -> A2C:
    env = make_atari_env("MsPacman", 1, backend="sb3")
    env.close()
    return A2C("CnnPolicy", env, policy_kwargs=policy_kwargs("coordconv"), seed=0, device="cpu")


def layers_of(agent: A2C) -> list[CoordConv2d]:
    return list(coordconv_layers(agent.policy, controls=False).values())


class TestShares:
    def test_by_hand(self):
        layer = CoordConv2d(1, 3, kernel_size=1)
        with torch.no_grad():
            layer.bias.zero_()
            # Only pixels; only rows; both in equal parts.
            layer.weight[:, :, 0, 0] = torch.tensor([[1.0, 0, 0], [0, 1, 0], [1, 0, 1]])
        # The pixels equal the rows' coordinate, so their variance is that of a coordinate.
        rows = torch.linspace(-1, 1, 5)[:, None].expand(5, 5)
        shares = response_shares(layer, rows[None, None])
        torch.testing.assert_close(shares, torch.tensor([0.0, 1.0, 0.5]))

    def test_nothing_varies(self):
        layer = CoordConv2d(1, 1, kernel_size=1)
        with torch.no_grad():
            layer.weight.zero_()
        assert response_shares(layer, torch.zeros(1, 1, 4, 4)).tolist() == [0.0]


class TestWithoutCoordinates:
    def responses(self, agent, x):
        (layer,) = layers_of(agent)
        with torch.no_grad():
            return layer(x)

    def test_zeroed_equals_the_convolution_of_the_pixels_alone(self, agent):
        x = torch.rand(2, 4, 84, 84)
        (layer,) = layers_of(agent)
        pixels = torch.nn.functional.conv2d(x, layer.weight[:, :4], layer.bias, layer.stride)
        zeroed = without_coordinates(agent, "zeroed")
        torch.testing.assert_close(self.responses(zeroed, x), pixels, atol=1e-5, rtol=1e-4)

    def test_shuffled_keeps_weights_and_values_but_not_positions(self, agent):
        (layer,) = layers_of(agent)
        (shuffled,) = layers_of(without_coordinates(agent, "shuffled"))
        torch.testing.assert_close(shuffled.weight, layer.weight)
        where = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        before, after = (one.make_coordinates((84, 84), **where) for one in (layer, shuffled))
        assert not torch.equal(before, after)
        pairs = [torch.stack([*one.flatten(1)], dim=1).tolist() for one in (before, after)]
        assert sorted(pairs[0]) == sorted(pairs[1])
        x = torch.rand(2, 4, 84, 84)
        agent_s, shuffled_s = layer(x), shuffled(x)
        assert not torch.allclose(agent_s, shuffled_s, atol=1e-2)

    @pytest.mark.parametrize("ablation", ["zeroed", "shuffled"])
    def test_does_not_depend_on_torchs_default_device(self, agent, ablation):
        x = torch.rand(2, 4, 84, 84)
        expected = self.responses(without_coordinates(agent, ablation), x)
        with torch.device("meta"):
            assert self.responses(without_coordinates(agent, ablation), x).equal(expected)

    def test_the_agent_is_unchanged(self, agent):
        observations = np.random.default_rng(0).integers(0, 256, (3, 4, 84, 84), np.uint8)
        x = torch.rand(1, 4, 84, 84)
        before = self.responses(agent, x)
        for ablation in ("zeroed", "shuffled"):
            without_coordinates(agent, ablation).predict(observations)
        torch.testing.assert_close(self.responses(agent, x), before, rtol=0, atol=0)


def test_what_the_layer_sees_are_scaled_pixels(agent):
    (layer,) = layers_of(agent)
    observations = np.full((3, 4, 84, 84), 51, np.uint8)
    x = layer_input(agent, layer, observations)
    torch.testing.assert_close(x, torch.full((3, 4, 84, 84), 0.2))


class TestCommand:
    def test_draws_both_figures_and_saves_the_scores(self, short_run, capsys, monkeypatch):
        drawn, save = [], Figure.savefig
        monkeypatch.setattr(
            Figure, "savefig", lambda self, path: (drawn.append(self), save(self, path))
        )
        flags = ("--explain", "--episodes", 1, "--seed", 5)
        assert evaluate(short_run.folder, *flags) == 0
        for name in ("coordinates_by_filter", "without_coordinates"):
            path = short_run.folder / "figures" / f"final-step-0000000100-seed-5-{name}.png"
            with Image.open(path) as image:
                assert image.width > 600
        assert [missing(figure) for figure in drawn] == [set(), set()]
        shown = capsys.readouterr().out
        for variant in ("mean score", "as trained", "coordinates zeroed", "coordinates shuffled"):
            assert variant in shown
        last = short_run.evaluations.read_text().splitlines()[-1]
        assert last.endswith("classic,stochastic,5,final")

    def test_needs_coordinates(self, two_runs, tmp_path, capsys):
        noise = train(
            "a2c", tmp_path, "--extractor nature-noise --total-timesteps 20 --eval-freq 0"
        )
        for folder in (two_runs / "a2c" / "MsPacman" / "nature-n_envs-2" / "seed-0", noise.folder):
            before = Run(folder).evaluations.read_text()
            assert evaluate(folder, "--explain", "--episodes", 1) == 2
            assert "has no coordinates" in capsys.readouterr().err
            assert Run(folder).evaluations.read_text() == before
