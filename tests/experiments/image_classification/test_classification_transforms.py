"""Test the crops and the normalisation."""

import numpy as np
import pytest
import torch
from classification_pictures import noise
from PIL import Image
from torchvision.transforms.v2 import functional as F

from rl_coordconv.experiments.image_classification.transforms import (
    MEAN,
    STD,
    Normalise,
    evaluation_transform,
    training_transform,
)


def columns_and_rows(width, height):
    """Return an image whose red and green are the column and the row, from 0 to 255."""
    x = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    y = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([x, y, 0 * x], axis=-1).round().astype(np.uint8))


def test_evaluation_shows_the_middle():
    """Of 300x200 pixels, 384x256 remain after resizing, and 224x224 after cropping."""
    red, green, _ = evaluation_transform(224)(columns_and_rows(300, 200)).float()
    first, last = (384 - 224) / 2 / 384 * 255, (384 + 224) / 2 / 384 * 255
    assert (red[0, 0], red[0, -1]) == (pytest.approx(first, abs=1.5), pytest.approx(last, abs=1.5))
    first, last = 16 / 256 * 255, 240 / 256 * 255
    assert (green[0, 0], green[-1, 0]) == (
        pytest.approx(first, abs=1.5),
        pytest.approx(last, abs=1.5),
    )


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 1), (2, 3), (37, 91)])
def test_pictures_of_any_size_become_squares(size):
    for transform in (training_transform(32), evaluation_transform(32)):
        assert transform(noise(*size)).shape == (3, 32, 32)


def test_the_ends_of_a_long_picture_do_not_matter():
    long = noise(11 * 20, 20)
    wanted = F.center_crop(F.resize(long, [36], antialias=True), [32, 32])
    assert evaluation_transform(32)(long).equal(F.pil_to_tensor(wanted))


def test_crops_for_training_have_the_sizes_of_the_recipe():
    """The colours of the corners say which part of the image was taken."""
    torch.manual_seed(0)
    crop, image = training_transform(64), columns_and_rows(256, 256)
    areas, ratios, mirrored = [], [], []
    for _ in range(300):
        red, green, _ = crop(image).float()
        width, height = (red[:, -1] - red[:, 0]).mean() / 255, (green[-1] - green[0]).mean() / 255
        areas.append(abs(width) * height)
        ratios.append(abs(width) / height)
        mirrored.append(width < 0)
    assert (min(areas), max(areas)) == (
        pytest.approx(0.08, abs=0.03),
        pytest.approx(0.98, abs=0.05),
    )
    assert (min(ratios), max(ratios)) == (
        pytest.approx(3 / 4, abs=0.05),
        pytest.approx(4 / 3, abs=0.07),
    )
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.1)


def test_normalised_images_are_those_of_torchvision():
    images = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    normalised = Normalise()(images)
    wanted = F.normalize(F.to_dtype(images, torch.float32, scale=True), list(MEAN), list(STD))
    torch.testing.assert_close(normalised, wanted)
    assert not Normalise().state_dict()
