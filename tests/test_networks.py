import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from rl_coordconv import CoordConv2d
from rl_coordconv.networks import (
    NETWORKS,
    build_network,
    coordconv_layers,
    find_by_name,
)

ATARI = (4, 84, 84)


def test_impala_has_the_size_of_the_paper():
    # 15 convolutions and a linear layer of 256; 84 pixels are halved three times to 11.
    convolutions = (
        9 * (4 * 16 + 4 * 16 * 16 + 16 * 32 + 4 * 32 * 32 + 5 * 32 * 32) + 5 * 16 + 10 * 32
    )
    linear = 32 * 11 * 11 * 256 + 256
    parameters = build_network("impala", ATARI).parameters()
    assert sum(p.numel() for p in parameters) == convolutions + linear


def test_with_global_pooling_the_linear_layer_sees_one_number_per_channel():
    convolutions = 32 * (4 * 8 * 8 + 1) + 64 * (32 * 4 * 4 + 1) + 64 * (64 * 3 * 3 + 1)
    parameters = build_network("nature-gap", ATARI).parameters()
    assert sum(p.numel() for p in parameters) == convolutions + 512 * (64 + 1)
    network = build_network("impala", ATARI, global_pooling=True)
    assert network.linear[0].in_features == 32
    torch.manual_seed(0)
    images = torch.rand(2, *ATARI)
    network = build_network("nature-gap", ATARI)
    means = network.cnn[:6](images).mean(dim=(2, 3))
    torch.testing.assert_close(network(images), network.linear(means))


@pytest.mark.parametrize(
    ("name", "depends"),
    [
        ("nature-gap", False),
        ("nature-gap-coordconv", True),
        ("nature-gap-noise", True),
        ("nature", True),
    ],
)
def test_only_without_coordinates_a_pooled_network_cannot_tell_where_an_object_is(name, depends):
    # Far from the edges, moving by the network's stride of 8 pixels moves the last image by one.
    torch.manual_seed(0)
    network = build_network(name, ATARI)
    images = torch.zeros(2, *ATARI)
    images[0, :, 36:44, 36:44] = images[1, :, 44:52, 28:36] = torch.rand(4, 8, 8)
    with torch.no_grad():
        here, there = network(images)
    assert bool((here - there).abs().max() > 1e-4) is depends
    if not depends:
        torch.testing.assert_close(here, there, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["coordconv", "coordconv-all", "coordconv-r", "impala-coordconv"])
def test_the_output_for_an_empty_image_depends_on_the_position(name):
    # In an empty image, only the coordinates differ between two positions away from the edges.
    network = build_network(name, ATARI)
    layer = next(m for m in network.modules() if isinstance(m, CoordConv2d))
    with torch.no_grad():
        empty = layer(torch.zeros(1, 4, 84, 84))
    assert (empty[..., 5, 5] - empty[..., 10, 10]).abs().max() > 1e-3


def test_zeros_add_nothing_and_noise_is_the_same_in_every_network():
    zeros = build_network("nature-zeros", ATARI).cnn[0]
    assert isinstance(zeros, CoordConv2d)
    assert not zeros.positional_map((84, 84)).any()
    first, second = (build_network("nature-noise", ATARI).cnn[0] for _ in range(2))
    where = {"device": torch.device("cpu"), "dtype": torch.float32}
    noise = first.make_coordinates((84, 84), **where)
    assert torch.equal(noise, second.make_coordinates((84, 84), **where))
    assert -1 <= noise.min() < -0.99 < 0.99 < noise.max() <= 1
    assert abs(noise.std() - 3**-0.5) < 0.01  # the standard deviation of a coordinate


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
    def test_has_the_papers_number_of_features_by_default(self, name, n_features):
        assert build_network(name, ATARI)(torch.rand(2, *ATARI)).shape == (2, n_features)

    def test_settings_override_those_of_the_name(self):
        network = build_network("coordconv-r", ATARI, coordinates="all")
        layers = coordconv_layers(network, controls=True).values()
        assert [layer.with_r for layer in layers] == [True, True, True]

    def test_suggests_the_nearest_network(self):
        with pytest.raises(ValueError, match=r"no extractor 'cordconv'; did you mean coordconv\?"):
            build_network("cordconv", ATARI)

    def test_images_that_are_too_small_are_an_error(self):
        with pytest.raises(ValueError, match="20x30 pixels are too small for NatureNetwork"):
            build_network("coordconv", (4, 20, 30))

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"coordinates": "frist"}, "no placement 'frist'; did you mean first?"),
            ({"coordinates": "last"}, "no placement 'last'; there are: all, first, none."),
            ({"coordinates": "None"}, "no placement 'None'; did you mean none?"),
            ({"coordinates": ""}, "no placement ''; there are: all, first, none."),
            ({"coordinates": None}, "coordinates must be none, first, all or a list"),
            ({"coordinates": True}, "coordinates must be none, first, all or a list"),
            ({"coordinates": 1}, "coordinates must be none, first, all or a list"),
            ({"coordinates": iter([1])}, "coordinates must be none, first, all or a list"),
            ({"coordinates": [3]}, "no convolution 3; they are numbered 0 to 2."),
            ({"coordinates": [-4]}, "no convolution -4; they are numbered 0 to 2."),
            ({"coordinates": [True]}, "no convolution True; they are numbered 0 to 2."),
            ({"coordinates": [1.0]}, "no convolution 1.0; they are numbered 0 to 2."),
            ({"coordinates": [[1]]}, "no convolution [1]; they are numbered 0 to 2."),
            ({"coordinates": ["cnn.1"]}, "no convolution 'cnn.1'; did you mean cnn."),
            ({"coordinates": ["linear.0"]}, "there are: cnn.0, cnn.2, cnn.4."),
            ({"control": "foo"}, "no control 'foo'; there are: None, noise, zeros."),
            ({"control": "zero"}, "no control 'zero'; did you mean zeros?"),
            ({"control": "None"}, "no control 'None'; did you mean None?"),
            ({"control": ["zeros"]}, "no control ['zeros']; did you mean zeros?"),
            ({"control": False}, "no control False; there are"),
            ({"precision": "fp16"}, "no precision 'fp16'; did you mean bf16?"),
            ({"precision": "float64"}, "no precision 'float64'; did you mean float32?"),
            ({"precision": torch.bfloat16}, "no precision torch.bfloat16; "),
            ({"precision": None}, "no precision None; there are: bf16, float32."),
            ({"with_r": "False"}, "with_r must be True or False, not 'False'."),
            ({"with_r": 2}, "with_r must be True or False, not 2."),
            ({"with_r": None}, "with_r must be True or False, not None."),
            ({"features_dim": 0}, "features_dim must be a positive integer, not 0."),
            ({"features_dim": "512"}, "features_dim must be a positive integer, not '512'."),
            ({"features_dim": True}, "features_dim must be a positive integer, not True."),
            ({"features_dim": 1.5}, "features_dim must be a positive integer, not 1.5."),
        ],
    )
    @pytest.mark.parametrize("name", ["nature", "coordconv"])
    def test_a_wrong_argument_is_an_error_that_suggests_the_nearest(self, name, settings, sentence):
        with pytest.raises(ValueError, match=re.escape(sentence)):
            build_network(name, ATARI, **settings)

    @pytest.mark.parametrize("shape", [(84, 84), (2, 4, 84, 84), 84])
    def test_a_wrong_input_shape_is_an_error(self, shape):
        with pytest.raises(ValueError, match="input_shape must be"):
            build_network("coordconv", shape)


class TestPlacement:
    """``coordinates`` as a list of layers."""

    NAMES = ("cnn.0", "cnn.2", "cnn.4")

    @pytest.mark.parametrize(
        ("coordinates", "seen"),
        [
            ([1], [1]),
            ([2, 0], [0, 2]),
            ((-1,), [2]),
            (["cnn.2"], [1]),
            (["cnn.4", 0], [0, 2]),
            ([0, "cnn.0"], [0]),
            (range(1, 3), [1, 2]),
            ([np.int64(1)], [1]),
            ([], []),
        ],
    )
    def test_layers_are_chosen_by_index_or_name(self, coordinates, seen):
        network = build_network("nature-noise", ATARI, coordinates=coordinates, with_r=True)
        layers = coordconv_layers(network, controls=True)
        assert [*layers] == [self.NAMES[i] for i in seen]
        assert coordconv_layers(network, controls=False) == {}
        assert all(layer.with_r for layer in layers.values())

    @pytest.mark.parametrize("name", ["coordconv", "impala-coordconv"])
    @pytest.mark.parametrize(("short", "long"), [("none", []), ("first", [0]), ("all", "names")])
    def test_lists_equal_the_short_forms(self, name, short, long):
        everywhere = build_network(name, ATARI, coordinates="all")
        names = [*coordconv_layers(everywhere, controls=True)]
        torch.manual_seed(0)
        expected = build_network(name, ATARI, coordinates=short).state_dict()
        torch.manual_seed(0)
        listed = build_network(name, ATARI, coordinates=names if long == "names" else long)
        assert all(expected[key].equal(value) for key, value in listed.state_dict().items())

    def test_layers_in_residual_blocks_can_be_chosen(self):
        network = build_network("impala", ATARI, coordinates=["cnn.3.residual.1", 14])
        layers = coordconv_layers(network, controls=False)
        assert [*layers] == ["cnn.3.residual.1", "cnn.11.residual.3"]
        assert network(torch.rand(2, *ATARI)).shape == (2, 256)


class TestTorchSettings:
    """Respect the caller's autocast, default device and default dtype."""

    def test_the_callers_autocast_applies_to_float32(self):
        network = build_network("coordconv", ATARI)
        dtypes = []
        network.cnn[0].register_forward_hook(lambda *args: dtypes.append(args[2].dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert network(torch.rand(2, *ATARI)).dtype == torch.bfloat16  # as NatureCNN
        assert network(torch.rand(2, *ATARI)).dtype == torch.float32
        assert dtypes == [torch.bfloat16, torch.float32]

    def test_bf16_applies_inside_disabled_autocast(self):
        network = build_network("coordconv", ATARI, precision="bf16")
        images = torch.rand(2, *ATARI)
        with torch.autocast("cpu", enabled=False):
            assert network(images).equal(network(images))
            assert network(images).dtype == torch.float32

    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    @pytest.mark.parametrize("name", NETWORKS)
    def test_runs_on_the_meta_device(self, name, precision):
        with torch.device("meta"):
            network = build_network(name, ATARI, precision=precision)
            assert network(torch.zeros(2, *ATARI)).device.type == "meta"

    def test_float64_weights_accept_float64_images(self):
        network = build_network("coordconv-all", ATARI).double()
        assert network(torch.rand(2, *ATARI, dtype=torch.float64)).dtype == torch.float64

    @pytest.mark.parametrize("name", NETWORKS)
    def test_torchs_default_device_and_dtype_change_nothing(self, name):
        network = build_network(name, ATARI)
        images = torch.rand(2, *ATARI)
        expected = copy.deepcopy(network)(images)
        torch.set_default_dtype(torch.float64)
        try:
            with torch.device("meta"):
                assert network(images).equal(expected)
        finally:
            torch.set_default_dtype(torch.float32)

    def test_noise_is_the_same_in_every_dtype(self):
        def noise(dtype):
            layer = build_network("nature-noise", ATARI).cnn[0]
            return layer.make_coordinates((84, 84), device=torch.device("cpu"), dtype=dtype)

        expected = noise(torch.float32)
        torch.set_default_dtype(torch.float64)
        try:
            assert noise(torch.float32).equal(expected)
            assert noise(torch.float64).float().equal(expected)
        finally:
            torch.set_default_dtype(torch.float32)


def test_an_unknown_name_without_a_near_one_lists_all():
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
    def test_layers_have_the_names_of_submodules(self, name, layers):
        network = build_network(name, ATARI)
        for controls in (False, True):
            assert [*coordconv_layers(network, controls=controls)] == layers
        inside = nn.ModuleDict({"network": network})
        assert [*coordconv_layers(inside, controls=False)] == [f"network.{x}" for x in layers]

    @pytest.mark.parametrize("name", ["nature-zeros", "nature-noise"])
    def test_controls_are_optional(self, name):
        network = build_network(name, ATARI)
        assert coordconv_layers(network, controls=False) == {}
        assert coordconv_layers(network, controls=True) == {"cnn.0": network.cnn[0]}
