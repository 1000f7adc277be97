"""The losses of the region proposals."""

import math

import pytest
import torch
from torch.testing import assert_close

from rl_coordconv.experiments.mnist_detection.boxes import anchors, apply_moves
from rl_coordconv.experiments.mnist_detection.sampling import Samples, losses, sample

ANCHORS = torch.tensor([[10.0, 10, 10, 10], [20, 20, 10, 20], [40, 40, 10, 10]])


def test_losses_by_hand():
    objects = torch.tensor([[[10.0, 15, 10, 10], [40, 20, 10, 20]]])
    moves = torch.zeros(1, 3, 4)
    moves[0, 0, 3] = 0.3
    scores = torch.tensor([[[1.0, 0], [0, 0], [0, 2]]])
    pad = [2] * 4
    samples = Samples(
        boxes=torch.tensor([[0, 1, *pad, 2, 0, *pad]]),
        objects=torch.tensor([[0, 1, *[0] * 4]]),
        drawn=torch.tensor([[True, True, *[False] * 4, True, *[False] * 5]]),
        overlaps=torch.tensor([[0.5, 0.25, *[1] * 4]]),
    )
    found = losses(moves, scores, ANCHORS, objects, samples)
    # The first errs by half a width and 0.3, the second by two heights.
    box = (0.5**2 + 0.3**2 + 2) / 2
    score = (math.log(1 + math.exp(-1)) + math.log(2) + math.log(1 + math.exp(-2))) / 3
    assert found["box_loss"].item() == pytest.approx(box)
    assert found["score_loss"].item() == pytest.approx(score)
    assert found["loss"].item() == pytest.approx(box + score)
    assert found["positive_iou"].item() == pytest.approx(0.375)


@pytest.mark.parametrize("released", [False, True])
def test_gradients_are_those_of_one_image_at_a_time(released):
    generator = torch.Generator().manual_seed(0)

    def normal(*size, scale):
        return torch.randn(size, generator=generator, dtype=torch.float64) * scale

    table = anchors(3, 3, "repaired").reshape(-1, 4).double()
    n_boxes = len(table)
    moves, scores = normal(4, n_boxes, 4, scale=0.6), normal(4, n_boxes, 2, scale=1)
    objects = table[[1, 40, 75]] + normal(4, 3, 4, scale=3)
    numbers = torch.rand(4, 4, n_boxes, generator=generator)
    moves.requires_grad_()
    scores.requires_grad_()

    def choose(images):
        moved = apply_moves(table, moves[images])
        return sample(moved, objects[images], numbers[images], 32, released=released)

    def loss(images):
        arguments = moves[images], scores[images], table, objects[images]
        return losses(*arguments, choose(images))["loss"]

    # The mean over all samples of a batch would be another one.
    assert len(set(choose(slice(None)).drawn.sum(dim=1).tolist())) > 1

    whole = torch.autograd.grad(loss(slice(None)), (moves, scores))
    parts = [torch.autograd.grad(loss([image]), (moves, scores)) for image in range(4)]
    means = [sum(part) / 4 for part in zip(*parts, strict=True)]
    assert_close(whole, tuple(means))
    assert all(grad.flatten(1).any(dim=1).all() for grad in whole)
    # At most six boxes of an image get a gradient of their move, and twelve of their score.
    assert whole[0].any(dim=2).sum(dim=1).max() <= 6
    assert whole[1].any(dim=2).sum(dim=1).max() <= 12


@pytest.mark.parametrize("released", [False, True])
def test_shapes_do_not_depend_on_values(released):
    """As CUDA graphs require; the meta device has no values."""
    with torch.device("meta"):
        moved, objects = torch.rand(2, 20, 4), torch.rand(2, 5, 4)
        samples = sample(moved, objects, torch.rand(2, 6, 20), 64, released=released)
        assert [x.shape for x in samples] == [(2, 12), (2, 6), (2, 12), (2, 6)]
        found = losses(moved, torch.rand(2, 20, 2), torch.rand(20, 4), objects, samples)
    assert all(value.shape == () for value in found.values())
