import subprocess
import sys

import pytest
import torch
from torch import nn

from rl_coordconv import CoordConv2d, CoordConvTranspose2d, convert


def make_network():
    shared = nn.Conv2d(6, 6, 3, padding=1)
    blocks = nn.ModuleList([nn.Sequential(shared, nn.ReLU()), shared])
    return nn.Sequential(
        nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Sequential(*blocks), nn.ConvTranspose2d(6, 2, 2)
    )


def test_all_converts_every_convolution_without_changing_the_output():
    network, x = make_network(), torch.rand(2, 4, 7, 9)
    expected = network(x)
    assert convert(network, with_r=True) is network
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)]
    assert kinds == [CoordConv2d, CoordConv2d, CoordConvTranspose2d]
    assert all(m.with_r for m in network.modules() if hasattr(m, "with_r"))
    assert network(x).equal(expected)


def test_first_converts_only_the_first():
    network, x = make_network(), torch.rand(2, 4, 7, 9)
    expected = network(x)
    convert(network, "first")
    assert type(network[0]) is CoordConv2d
    assert type(network[2][1]) is nn.Conv2d
    assert type(network[3]) is nn.ConvTranspose2d
    assert network(x).equal(expected)


def test_a_layer_used_twice_is_still_one_layer():
    network = convert(make_network())
    assert type(network[2][1]) is CoordConv2d
    assert network[2][0][0] is network[2][1]


def test_a_single_convolution_is_replaced():
    plain = nn.Conv2d(4, 6, 3)
    assert type(convert(plain)) is CoordConv2d
    assert type(plain) is nn.Conv2d


def test_nothing_to_convert_is_an_error():
    with pytest.raises(ValueError, match="no convolution to convert"):
        convert(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="no convolution to convert"):
        convert(convert(make_network()))


def test_an_unknown_choice_of_layers_is_an_error():
    with pytest.raises(ValueError, match="a list of names, not 'frist'"):
        convert(make_network(), "frist")


def test_after_an_error_the_network_is_unchanged():
    network = make_network()
    nn.utils.spectral_norm(network[3])
    with pytest.raises(ValueError, match="computed by a hook; remove the hook first"):
        convert(network)
    assert type(network[0]) is nn.Conv2d


def test_the_public_name_is_the_function_even_if_the_module_was_imported_first():
    code = "import rl_coordconv.convert; from rl_coordconv import convert; assert callable(convert)"
    subprocess.run([sys.executable, "-c", code], check=True)
