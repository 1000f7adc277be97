"""Test the built-in data against their description."""

from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from rl_coordconv.experiments.image_classification.generated import (
    MIN_CONTRAST,
    NOISE,
    make_bars,
    make_quadrants,
)
from rl_coordconv.experiments.image_classification.names import DataSource, Part
from rl_coordconv.experiments.image_classification.small_data import read_small
from rl_coordconv.runs.config import UserError

GENERATED = [make_quadrants, make_bars]


def objects(images):
    """Return rows and columns of the largest object of each image, without specks."""
    for image in images.numpy().astype(int):
        background = np.median(image, axis=(1, 2), keepdims=True)
        differs = (np.abs(image - background) > MIN_CONTRAST - 2.5 * NOISE).all(axis=0)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(differs.astype(np.uint8))
        largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
        yield np.nonzero(parts == largest)


def z_scores(values, labels):
    """Return each class's mean minus the mean of all in standard errors, ``[4, features]``."""
    means = torch.stack([values[labels == label].mean(dim=0) for label in range(4)])
    error = values.std(dim=0) / (len(values) / 4) ** 0.5
    return (means - values.mean(dim=0)) / error


@pytest.mark.parametrize("source", get_args(DataSource))
def test_parts_have_all_classes_and_no_image_in_common(source):
    parts = [read_small(source, part, 16) for part in get_args(Part)]
    train, val = parts
    for part in parts:
        assert part.images.shape == (len(part.labels), 3, 16, 16)
        assert (part.images.dtype, part.labels.dtype) == (torch.uint8, torch.int64)
        shares = part.labels.bincount(minlength=len(part.classes)) / len(part.labels)
        assert (shares - 1 / len(part.classes)).abs().max() < 0.005
    assert len(train.labels) / (len(train.labels) + len(val.labels)) == pytest.approx(0.8, abs=1e-3)
    seen = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert not seen[0] & seen[1]
    assert read_small(source, "val", 16).images.equal(val.images)


def test_digits_are_grey_and_use_the_whole_range():
    for source, number in (("digits", 1797), ("mnist-5k", 5000)):
        parts = [read_small(source, part, 28) for part in get_args(Part)]
        images = torch.cat([part.images for part in parts])
        assert len(images) == number
        assert images[:, 0].equal(images[:, 1])
        assert images[:, 0].equal(images[:, 2])
        assert (images.min(), images.max()) == (0, 255)


def test_a_quadrant_is_the_place_of_the_object_alone():
    images, labels = make_quadrants(1000, 32, seed=3)
    for (rows, columns), label in zip(objects(images), labels.tolist(), strict=True):
        assert 2 * (rows.mean() > 15.5) + (columns.mean() > 15.5) == label
    counts = torch.stack([(images // 32 == k).float().mean(dim=(1, 2, 3)) for k in range(8)], 1)
    assert z_scores(counts, labels).abs().max() < 4


def test_objects_touch_neither_the_border_nor_the_middle_lines():
    """Two pixels of the object's colour are in contact only by chance, from specks."""
    images, _ = make_quadrants(500, 33, seed=0)
    lines = [np.isin(edge, (0, 15, 16, 17, 32)).any() for ij in objects(images) for edge in ij]
    assert np.mean(lines) < 0.02


@pytest.mark.parametrize("size", [16, 17, 64])
def test_places_reach_all_that_is_allowed(size):
    """Every pixel that the largest object may cover is covered at some time."""
    images, _ = make_quadrants(400, size, seed=0)
    counts = torch.zeros(size)
    for rows, _ in objects(images):
        counts[rows] += 1
    quarter = size // 2
    allowed = torch.zeros(size, dtype=torch.bool)
    allowed[1 : quarter - 1] = allowed[size - quarter + 1 : -1] = True
    assert (counts[allowed] > 0).all()


def test_a_bar_is_a_direction_at_any_place():
    images, labels = make_bars(1000, 32, seed=3)
    found, places = [], []
    for rows, columns in objects(images):
        (i, ij), (_, j) = np.cov(rows, columns)
        found.append((0 if j > i else 1) if abs(ij) < abs(i - j) else (2 if ij > 0 else 3))
        places.append([rows.mean(), columns.mean()])
    assert np.mean(np.array(found) == labels.numpy()) > 0.99
    assert z_scores(torch.tensor(places), labels).abs().max() < 4


@pytest.mark.parametrize("make", GENERATED)
def test_generated_images_depend_on_the_seed_alone(make):
    images, labels = make(6, 32, seed=1)
    again, same_labels = make(6, 32, seed=1)
    assert (images.equal(again), labels.equal(same_labels)) == (True, True)
    assert not make(6, 32, seed=2)[0].equal(images)
    with pytest.raises(UserError, match=r"^A size of 15 pixels is too small; choose at least 16\."):
        make(1, 15, seed=0)
