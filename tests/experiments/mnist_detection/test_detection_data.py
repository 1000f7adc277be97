"""Canvases of digits, against plain rejection and a slower drawing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp

from rl_coordconv.experiments.mnist_detection.data import make_canvases, place_digits
from rl_coordconv.experiments.mnist_detection.digits import Digits
from rl_coordconv.runs.config import UserError


def one_digit(ink):
    """The only digit, of class 3, with a black border."""
    return Digits(np.pad(ink, 4)[None].astype(np.uint8), np.array([3]))


def solid_digits():
    """Rectangles of the brightness class + 1."""
    labels = np.arange(10)
    images = np.zeros((10, 28, 28), np.uint8)
    images[:, 5:20, 9:18] = labels[:, None, None] + 1
    return Digits(images, labels)


def rejected_places(number, seed):
    """Places of the construction's own words: place 12 digits, keep canvases with 5 centres."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(15, 26, (number, 12, 2))
    corners = np.floor(rng.random((number, 12, 2)) * (121 - sizes)).astype(int) - 28
    centres = corners + sizes / 2
    inside = ((centres >= 0) & (centres < 64)).all(axis=2)
    order = np.argsort(~inside, axis=1, kind="stable")[:, :, None]  # those inside first
    places = np.take_along_axis(np.concatenate([corners, sizes], axis=2), order, axis=1)
    return places[inside.sum(axis=1) == 5]


def visible_areas(places):
    """Pixels on the canvas of each digit, ``[N, 12]``."""
    corners, sizes = np.split(places, 2, axis=2)
    return (np.minimum(corners + sizes, 64) - np.maximum(corners, 0)).clip(0).prod(axis=2)


def test_places_are_distributed_as_by_rejecting_canvases():
    wanted = rejected_places(60_000, seed=0)
    found = place_digits(len(wanted), seed=0, size=64, n_digits=5)
    assert found.shape == wanted.shape
    for group in (slice(5), slice(5, 12)):
        centres = [x[:, group, :2] + x[:, group, 2:] / 2 for x in (found, wanted)]
        for axis in range(2):
            for own, other in (
                (found[:, group, 2 + axis], wanted[:, group, 2 + axis]),
                (centres[0][:, :, axis], centres[1][:, :, axis]),
            ):
                assert ks_2samp(own.ravel(), other.ravel()).pvalue > 0.01
    areas = [visible_areas(x)[:, 5:] for x in (found, wanted)]
    assert ks_2samp(areas[0].sum(axis=1), areas[1].sum(axis=1)).pvalue > 0.01
    assert ks_2samp(*((x > 0).sum(axis=1) for x in areas)).pvalue > 0.01


def test_digits_are_resized_added_and_clipped():
    ink = np.random.default_rng(0).integers(1, 256, (12, 9))
    images = make_canvases(20, one_digit(ink), seed=1).images
    for image, places in zip(images, place_digits(20, 1, 64, 5).tolist(), strict=True):
        expected = torch.zeros(120, 120)
        for top, left, h, w in places:
            resized = F.interpolate(torch.tensor(ink)[None, None].float(), (h, w), mode="bilinear")
            expected[top + 28 : top + 28 + h, left + 28 : left + 28 + w] += resized[0, 0]
        expected = expected[28:92, 28:92].clamp(max=255)
        assert (image[0] - expected).abs().max() < 3  # each digit is rounded


def test_boxes_and_labels_are_those_of_the_digits():
    """Where no digit without a box is, brightness is the sum of the labels + 1."""
    canvases = make_canvases(50, solid_digits(), seed=2)
    assert canvases.boxes.shape == (50, 5, 4)
    others = place_digits(50, 2, 64, 5)[:, 5:].tolist()
    ticks = torch.arange(64) + 0.5
    for n in range(50):
        i, j, h, w = canvases.boxes[n].unbind(-1)
        rows = (ticks - i[:, None]).abs() < h[:, None] / 2
        columns = (ticks - j[:, None]).abs() < w[:, None] / 2
        covered = rows[:, :, None] & columns[:, None, :]  # [5, 64, 64]
        expected = (covered * (canvases.digits[n] + 1)[:, None, None]).sum(dim=0)
        free = torch.ones(64, 64, dtype=torch.bool)
        for top, left, height, width in others[n]:
            free[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = False
        assert free.any()
        assert torch.equal(canvases.images[n, 0][free].long(), expected[free])
        assert (canvases.images[n, 0][~free] > expected[~free]).all()


def test_canvases_depend_on_the_seed_only():
    canvases = [make_canvases(3, solid_digits(), seed) for seed in (0, 0, 1)]
    assert canvases[0].images.equal(canvases[1].images)
    assert canvases[0].boxes.equal(canvases[1].boxes)
    assert not canvases[0].images.equal(canvases[2].images)


def test_another_size_and_number():
    canvases = make_canvases(100, solid_digits(), seed=0, size=40, n_digits=2)
    assert canvases.images.shape == (100, 1, 40, 40)
    centres = canvases.boxes[..., :2]
    assert centres.min() >= 0
    assert 38 < centres.max() < 40


@pytest.mark.parametrize(
    ("size", "n_digits", "message"),
    [
        (24, 1, "A canvas of 24 pixels is too small; choose at least 25."),
        (64, 11, "A canvas of 64 pixels has space for 10 digits, not 11."),
    ],
)
def test_digits_that_do_not_fit_are_one_sentence(size, n_digits, message):
    with pytest.raises(UserError) as error:
        make_canvases(1, solid_digits(), 0, size, n_digits)
    assert str(error.value) == message
