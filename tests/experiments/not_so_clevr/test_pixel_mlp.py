"""Test `PixelMLP` against its plain definition: tiled coordinates and torch's convolutions."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from rl_coordconv import add_coords
from rl_coordconv.experiments.not_so_clevr.pixel_mlp import PixelMLP
from rl_coordconv.tf_layers import initialise


def plain_definition(network, xy):
    """Tile the input, append coordinates, and apply torch's convolutions."""
    x = add_coords(xy[:, :, None, None].expand(-1, -1, network.canvas, network.canvas))
    for layer in network:
        x = F.conv2d(x, layer.weight, layer.bias) if hasattr(layer, "weight") else F.relu(x)
    return x


def assert_equal_to_the_plain_definition(n_samples, weigh):
    """Compare values, and gradients of the output weighted by ``weigh(out.shape)``."""
    network = PixelMLP(5, (8, 4, 3)).double()  # with coordinates that are exact in float32
    initialise(network)
    xy = torch.rand(n_samples, 2, dtype=torch.double, requires_grad=True)
    out, plain = network(xy), plain_definition(network, xy)
    assert_close(out, plain)
    inputs = [xy, *network.parameters()]
    weights = weigh(out.shape).double()
    gradients = torch.autograd.grad((out * weights).sum(), inputs)
    assert_close(gradients, torch.autograd.grad((plain * weights).sum(), inputs))


@pytest.mark.parametrize("n_samples", [1, 2, 5])  # less than a chunk, one chunk, 2.5 chunks
def test_equals_the_plain_definition(n_samples):
    assert_equal_to_the_plain_definition(n_samples, torch.rand)


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 1), n_samples=st.integers(1, 5), seed=st.integers(0, 1000))
def test_skipping_pixels_without_gradient_changes_nothing(share, n_samples, seed):
    torch.manual_seed(seed)
    assert_equal_to_the_plain_definition(
        n_samples, lambda shape: torch.rand(shape) * (torch.rand(shape) < share)
    )


def test_a_confident_softmax_has_no_gradient_at_most_pixels():
    """The backward pass is fast because of this."""
    logits = torch.zeros(1, 36, requires_grad=True)
    with torch.no_grad():
        logits[0, 7:] = -200
    F.cross_entropy(logits, torch.tensor([3])).backward()
    assert logits.grad.count_nonzero() == 7


def test_no_gradients_with_no_grad():
    network = PixelMLP(6, (8, 4, 1))
    xy = torch.rand(3, 2)
    with torch.no_grad():
        out = network(xy)
    assert not out.requires_grad
    assert_close(out, network(xy).detach())


def test_has_the_weights_of_ordinary_1x1_convolutions():
    state = PixelMLP(6, (8, 4, 1)).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes == {
        "0.weight": (8, 4, 1, 1),
        "0.bias": (8,),
        "2.weight": (4, 8, 1, 1),
        "2.bias": (4,),
        "4.weight": (1, 4, 1, 1),
        "4.bias": (1,),
    }


def test_output_pixels_are_in_rows_and_columns():
    """Output i and j: the pixel at row 0, column 2 has i = -1, j = 1."""
    network = PixelMLP(3, (2,))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[0.0, 0, 1, 0], [0, 0, 0, 1]]).view(2, 4, 1, 1))
        network[0].bias.zero_()
    i, j = network(torch.zeros(1, 2))[0]
    assert (i[0, 2], j[0, 2]) == (-1, 1)
