"""Test `OneHotConvs` against the same layers applied to whole images."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv2d
from rl_coordconv.experiments.not_so_clevr.one_hot import OneHotConvs
from rl_coordconv.tf_layers import same_conv


def make_network(activation: type[nn.Module], *kernel_sizes: int) -> OneHotConvs:
    layers = [CoordConv2d(1, 4, 1), activation()]
    for kernel_size in kernel_sizes:
        layers += [*same_conv(4, 4, kernel_size), activation()]
    return OneHotConvs(*layers).double()


def one_hots(pixels: list[int], height: int, width: int) -> torch.Tensor:
    x = torch.zeros(len(pixels), height * width, dtype=torch.double)
    x[range(len(pixels)), pixels] = 1
    return x.view(-1, 1, height, width)


@settings(deadline=None, max_examples=30)
@given(
    kernel_sizes=st.lists(st.sampled_from([1, 3, 5]), max_size=3),
    activation=st.sampled_from([nn.Identity, nn.ReLU]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    data=st.data(),
)
def test_equals_the_same_layers_on_whole_images(kernel_sizes, activation, height, width, data):
    """Compare values and gradients, at the borders too."""
    pixels = st.lists(st.integers(0, height * width - 1), min_size=1, max_size=4)
    x = one_hots(data.draw(pixels), height, width)
    network = make_network(activation, *kernel_sizes)
    out, plain = network(x), nn.Sequential.forward(network, x)
    # Tolerances for coordinates that are rounded to float32.
    assert_close(out, plain, rtol=1e-5, atol=1e-5)
    weights, parameters = torch.rand_like(out), [*network.parameters()]
    gradients = torch.autograd.grad((out * weights).sum(), parameters)
    wanted = torch.autograd.grad((plain * weights).sum(), parameters)
    assert_close(gradients, wanted, rtol=1e-4, atol=1e-4)


def test_computes_only_the_windows():
    """For 32 samples: one empty image, and 32 windows."""
    network = make_network(nn.ReLU, 3, 3)
    seen = []
    for layer in network:
        layer.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    network(one_hots([*range(32)], 20, 20))
    assert [n for n in seen if n > 1] == [32] * 3  # the activations, on windows
