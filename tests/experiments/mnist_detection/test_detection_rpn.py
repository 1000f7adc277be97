"""The network of the region proposals."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from rl_coordconv import add_coords
from rl_coordconv.experiments.mnist_detection.names import RPNModel
from rl_coordconv.experiments.mnist_detection.rpn import ProposalNetwork, grid_side

COUNTS = {"rpn-conv": 81_590, "rpn-coordconv": 83_838, "rpn-zeros": 83_838, "rpn-noise": 83_838}


def with_random_moves(model):
    network = ProposalNetwork(model)
    nn.init.normal_(network.mover[-1].weight)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("model", get_args(RPNModel))
def test_the_number_of_parameters_is_the_papers(model):
    with torch.device("meta"):
        network = ProposalNetwork(model)
    assert sum(p.numel() for p in network.parameters()) == COUNTS[model]


@pytest.mark.parametrize("model", get_args(RPNModel))
def test_boxes_do_not_move_before_training(model):
    moves, scores = ProposalNetwork(model)(torch.rand(2, 1, 64, 64))
    assert torch.equal(moves, torch.zeros(2, 13 * 13 * 9, 4))
    assert scores.shape == (2, 13 * 13 * 9, 2)
    assert scores.std() > 0.1


@pytest.mark.parametrize("model", ["rpn-conv", "rpn-coordconv"])
def test_the_network_is_that_of_the_definition(model):
    """Compare with plain convolutions over concatenated coordinates, and ReLU before pooling."""
    network = with_random_moves(model).double()
    weights = [p for p in network.parameters() if p.ndim == 4]
    biases = [p for p in network.parameters() if p.ndim == 1]
    coords = add_coords if model == "rpn-coordconv" else nn.Identity()

    def conv(x, number, padding=0):
        return F.conv2d(x, weights[number], biases[number], padding=padding)

    images = torch.rand(2, 1, 64, 64, dtype=torch.float64)
    x = F.max_pool2d(conv(coords(images), 0).relu(), 2)
    x = F.max_pool2d(conv(x, 1).relu(), 2)
    x = conv(coords(x), 2, padding=1).relu()
    moves = conv(coords(conv(x, 3, padding=1).relu()), 4)
    scores = conv(x, 5)

    found = network(images)
    assert_close(found[0].view(2, 13, 13, 9, 4), moves.view(2, 9, 4, 13, 13).permute(0, 3, 4, 1, 2))
    assert_close(
        found[1].view(2, 13, 13, 9, 2), scores.view(2, 9, 2, 13, 13).permute(0, 3, 4, 1, 2)
    )


@pytest.mark.parametrize("canvas", [16, 32, 47, 64])
def test_the_grid_has_the_size_of_the_output(canvas):
    moves, _ = ProposalNetwork("rpn-conv")(torch.rand(1, 1, canvas, canvas))
    assert moves.shape == (1, grid_side(canvas) ** 2 * 9, 4)


def test_an_anchor_sees_the_16_pixels_around_its_centre():
    """Without the 3x3 convolutions, cell (0, 0), whose anchors are at 8, sees pixels 0 to 15."""
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    layers = with_random_moves("rpn-conv").features[:6]
    layers(images)[0, :, 0, 0].sum().backward()
    rows, columns = images.grad[0, 0].nonzero().T
    assert {rows.min().item(), columns.min().item()} == {0}
    assert max(rows.max().item(), columns.max().item()) == 15


@pytest.mark.parametrize("model", ["rpn-zeros", "rpn-conv"])
def test_without_coordinates_a_shifted_image_has_shifted_moves(model):
    """They are equal up to the zero padding of two 3x3 convolutions; not so with coordinates."""
    images = torch.zeros(2, 1, 64, 64)
    images[0, 0, 24:36, 24:36] = images[1, 0, 28:40, 24:36] = torch.rand(12, 12)
    for name, is_equal in ((model, True), ("rpn-coordconv", False)):
        moves = with_random_moves(name)(images)[0].view(2, 13, 13, -1)
        shifted = torch.allclose(moves[0, 2:-3, 2:-2], moves[1, 3:-2, 2:-2], rtol=1e-3, atol=1e-3)
        assert shifted is is_equal
