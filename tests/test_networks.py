import pytest
import torch
from torch import nn

from rl_coordconv import CoordConv2d
from rl_coordconv.networks import (
    NETWORKS,
    NatureNetwork,
    build_network,
    coordconv_layers,
    find_by_name,
)

ATARI = (4, 84, 84)


def test_impala_has_the_size_of_the_paper():
    # 15 convolutions and one linear layer of 256; 84 is halved three times to 11.
    convolutions = (
        9 * (4 * 16 + 4 * 16 * 16 + 16 * 32 + 4 * 32 * 32 + 5 * 32 * 32) + 5 * 16 + 10 * 32
    )
    linear = 32 * 11 * 11 * 256 + 256
    parameters = build_network("impala", ATARI).parameters()
    assert sum(p.numel() for p in parameters) == convolutions + linear


@pytest.mark.parametrize("name", ["coordconv", "coordconv-all", "coordconv-r", "impala-coordconv"])
def test_output_depends_on_where_things_are_in_the_coordinates_alone(name):
    # Between two places inside an empty image only the coordinates differ.
    network = build_network(name, ATARI)
    layer = next(m for m in network.modules() if isinstance(m, CoordConv2d))
    with torch.no_grad():
        empty = layer(torch.zeros(1, 4, 84, 84))
    assert (empty[..., 5, 5] - empty[..., 10, 10]).abs().max() > 1e-3


def test_zeros_are_blind_and_noise_is_the_same_everywhere():
    zeros = build_network("nature-zeros", ATARI).cnn[0]
    assert isinstance(zeros, CoordConv2d)
    assert not zeros.positional_map((84, 84)).any()
    first, second = (build_network("nature-noise", ATARI).cnn[0] for _ in range(2))
    where = {"device": torch.device("cpu"), "dtype": torch.float32}
    noise = first.make_coordinates((84, 84), **where)
    assert torch.equal(noise, second.make_coordinates((84, 84), **where))
    assert -1 <= noise.min() < -0.99 < 0.99 < noise.max() <= 1
    assert abs(noise.std() - 3**-0.5) < 0.01  # as that of a coordinate


def test_bf16_is_close_to_float32_and_returns_float32():
    torch.manual_seed(0)
    exact = build_network("coordconv-all", ATARI)
    rounded = build_network("coordconv-all", ATARI, precision="bf16")
    rounded.load_state_dict(exact.state_dict())
    images = torch.rand(2, 4, 84, 84)
    features = rounded(images)
    assert features.dtype == torch.float32
    assert not torch.equal(features, exact(images))
    assert torch.allclose(features, exact(images), atol=0.01)
    features.sum().backward()
    assert rounded.cnn[0].weight.grad.dtype == torch.float32


class TestBuildNetwork:
    @pytest.mark.parametrize("name", NETWORKS)
    def test_takes_its_size_from_the_input_shape(self, name):
        network = build_network(name, (3, 60, 40), features_dim=16)
        features = network(torch.rand(2, 3, 60, 40))
        assert features.shape == (2, 16)
        assert features.dtype == torch.float32

    @pytest.mark.parametrize(("name", "n_features"), [("coordconv", 512), ("impala", 256)])
    def test_has_the_papers_output_by_default(self, name, n_features):
        assert build_network(name, ATARI)(torch.rand(2, *ATARI)).shape == (2, n_features)

    def test_settings_override_those_of_the_name(self):
        network = build_network("coordconv-r", ATARI, coordinates="all")
        layers = coordconv_layers(network, controls=True).values()
        assert [layer.with_r for layer in layers] == [True, True, True]

    def test_names_the_nearest_network(self):
        with pytest.raises(ValueError, match=r"no extractor 'cordconv'; did you mean coordconv\?"):
            build_network("cordconv", ATARI)

    def test_refuses_images_that_are_too_small(self):
        with pytest.raises(ValueError, match="20x30 pixels are too small for NatureNetwork"):
            build_network("coordconv", (4, 20, 30))

    def test_a_wrong_placement_is_an_error(self):
        with pytest.raises(KeyError, match="frist"):
            NatureNetwork(ATARI, coordinates="frist")


def test_an_unknown_name_that_is_near_none_lists_all():
    with pytest.raises(ValueError, match=r"'zzz'; there are: coordconv, .*, nature-zeros\."):
        find_by_name("zzz", NETWORKS)


class TestCoordconvLayers:
    @pytest.mark.parametrize(
        ("name", "layers"),
        [
            ("nature", []),
            ("coordconv", ["cnn.0"]),
            ("coordconv-all", ["cnn.0", "cnn.2", "cnn.4"]),
            ("impala-coordconv", ["cnn.0"]),
        ],
    )
    def test_are_named_as_in_the_module(self, name, layers):
        network = build_network(name, ATARI)
        for controls in (False, True):
            assert [*coordconv_layers(network, controls=controls)] == layers
        inside = nn.ModuleDict({"network": network})
        assert [*coordconv_layers(inside, controls=False)] == [f"network.{x}" for x in layers]

    @pytest.mark.parametrize("name", ["nature-zeros", "nature-noise"])
    def test_leave_out_the_controls_unless_asked(self, name):
        network = build_network(name, ATARI)
        assert coordconv_layers(network, controls=False) == {}
        assert coordconv_layers(network, controls=True) == {"cnn.0": network.cnn[0]}
