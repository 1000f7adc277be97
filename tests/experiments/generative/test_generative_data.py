"""Test the images of two objects against their definition, pixel by pixel."""

import cv2
import numpy as np
import pytest
import torch

from rl_coordconv.experiments.generative.data import (
    Objects,
    draw,
    half_width,
    make_images,
    place_objects,
    scale,
)
from rl_coordconv.runs.config import UserError

RED, BLUE, WHITE = [255, 0, 0], [0, 0, 255], [255, 255, 255]


def inside(x, y, centre, circle, half):
    dx, dy = x - centre[0], y - centre[1]
    return dx**2 + dy**2 <= half**2 if circle else max(abs(dx), abs(dy)) <= half


def colour(x, y, objects, image):
    for k, of_object in enumerate((RED, BLUE)):
        centre, circle = objects.centres[image, k].tolist(), objects.circles[image, k]
        if inside(x, y, centre, circle, half_width(objects.canvas)):
            return of_object
    return WHITE


@pytest.mark.parametrize("canvas", [16, 33])
def test_each_pixel_has_the_colour_of_the_object_in_front(canvas):
    objects = place_objects(8, canvas, seed=0)
    objects = Objects(
        objects.centres, torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]] * 2) == 1, canvas
    )
    expected = [
        [[colour(x, y, objects, image) for x in range(canvas)] for y in range(canvas)]
        for image in range(8)
    ]
    assert draw(objects).permute(0, 2, 3, 1).tolist() == expected


def test_the_papers_shapes_have_441_and_317_pixels_and_red_is_in_front():
    centres = torch.tensor([[[10, 10], [53, 53]], [[30, 30], [46, 42]]])
    images = draw(Objects(centres, torch.tensor([[False, True], [False, False]]), 64))
    red, blue = (images[:, 1] == 0) & (images[:, 2] == 0), images[:, 0] == 0
    assert red.sum(dim=(1, 2)).tolist() == [441, 441]
    assert blue.sum(dim=(1, 2)).tolist() == [317, 441 - 5 * 9]  # columns 36 to 40, rows 32 to 40
    assert red[0, :21, :21].all()


def test_centres_cover_the_canvas_and_objects_are_apart():
    objects = place_objects(20_000, 64, seed=0)
    assert (
        objects.centres.amin(dim=(0, 1)).tolist(),
        objects.centres.amax(dim=(0, 1)).tolist(),
    ) == (
        [10, 10],
        [53, 53],
    )
    squared = (objects.centres[:, 1] - objects.centres[:, 0]).square().sum(dim=1)
    assert squared.min() == 400
    assert objects.circles.float().mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)


def test_only_the_red_centre_is_drawn_again_where_it_is_too_close():
    """As in the authors' code, so blue is uniform, and red is less often in the middle."""
    centres = place_objects(50_000, 64, seed=0).centres.double()
    middle = ((centres - 31.5).abs() < 11).all(dim=2)  # a quarter of all positions
    assert middle.double().mean(dim=0).tolist() == pytest.approx([0.165, 0.25], abs=0.006)


@pytest.mark.parametrize("canvas", [16, 32, 64, 128])
def test_circles_are_those_of_opencv(canvas):
    """The authors draw with OpenCV."""
    middle = canvas // 2
    objects = Objects(torch.full((1, 2, 2), middle), torch.tensor([[True, True]]), canvas)
    expected = np.full((canvas, canvas, 3), 255, dtype=np.uint8)
    cv2.circle(expected, (middle, middle), half_width(canvas), tuple(RED), -1)
    assert draw(objects)[0].permute(1, 2, 0).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("canvas", "half"), [(16, 2), (20, 3), (32, 5), (48, 8), (64, 10), (128, 20)]
)
def test_objects_scale_with_the_canvas(canvas, half):
    objects = place_objects(2000, canvas, seed=0)
    assert half_width(canvas) == half
    assert (objects.centres.min(), objects.centres.max()) == (half, canvas - 1 - half)
    distances = (objects.centres[:, 1] - objects.centres[:, 0]).double().norm(dim=1)
    assert distances.min() >= 2 * half


def test_the_same_seed_gives_the_same_images_however_they_are_split(monkeypatch):
    images = make_images(7, 32, seed=5)
    assert images.dtype == torch.uint8
    monkeypatch.setattr("rl_coordconv.experiments.generative.data._PIXELS_PER_CHUNK", 2048)
    assert make_images(7, 32, seed=5).equal(images)
    assert not make_images(7, 32, seed=6).equal(images)


def test_scaled_images_range_from_minus_1_to_1():
    images = torch.arange(256, dtype=torch.uint8)
    scaled = scale(images)
    assert scaled.dtype == torch.float32
    assert (scaled[0], scaled[255]) == (-1, 1)
    assert ((scaled + 1) * 127.5).round().to(torch.uint8).equal(images)


def test_a_canvas_too_small_is_one_sentence():
    with pytest.raises(
        UserError, match=r"^A canvas of 15 pixels is too small; choose at least 16\.$"
    ):
        make_images(1, 15, seed=0)
