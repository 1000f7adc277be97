"""Shifted images."""

import torch

from rl_coordconv.experiments.image_classification.shifts import (
    shift,
    shifted_copies,
)


def test_every_image_has_its_own_shift_and_repeats_its_border():
    images = torch.arange(18.0).reshape(2, 1, 3, 3)
    moved = shift(images, torch.tensor([1, 0]), torch.tensor([0, -2]))
    assert moved[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]  # down
    assert moved[1, 0].tolist() == [[11, 11, 11], [14, 14, 14], [17, 17, 17]]  # left


def test_colours_stay_together():
    images = torch.randn(3, 2, 5, 7)
    moved = shift(images, torch.tensor([0, 2, -1]), torch.tensor([3, 0, 0]))
    assert torch.equal(moved[0, :, :, 3:], images[0, :, :, :4])
    assert torch.equal(moved[1, :, 2:], images[1, :, :3])
    assert torch.equal(moved[2, :, :4], images[2, :, 1:])


def test_copies_are_shifted_down_up_right_and_left():
    images = torch.zeros(1, 1, 5, 5)
    images[0, 0, 2, 2] = 1
    places = shifted_copies(images, 2).nonzero()[:, -2:].tolist()
    assert places == [[4, 2], [0, 2], [2, 4], [2, 0]]
