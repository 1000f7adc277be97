"""Test the object finder and the metrics of images against known positions and hand values."""

import math

import pytest
import torch

from rl_coordconv.experiments.generative import metrics
from rl_coordconv.experiments.generative.data import (
    Objects,
    draw,
    make_images,
    place_objects,
    scale,
)
from rl_coordconv.experiments.generative.finder import colour_masks, find_objects
from rl_coordconv.experiments.generative.metrics import (
    coverage,
    entropy,
    nearest_real,
    position_entropies,
    sample_metrics,
)

RED = torch.tensor([1.0, -1, -1])


def white(number=1, canvas=64):
    return torch.ones(number, 3, canvas, canvas)


def fill(images, left, top, width, height, colour=RED):
    images[:, :, top : top + height, left : left + width] = colour[:, None, None]


class TestMasks:
    @pytest.mark.parametrize(
        ("colour", "saturation"),
        [
            ((1, -1, -1), 1),
            ((1, 0, 0), 0),  # half way to white
            ((0.6, -0.8, -1), 0.6),
            ((0, 0, 0), 0),
            ((1, 1, 1), -1),
            ((-1, -1, -1), -1),
            ((1, 1, -1), -1),  # yellow
            ((1, -1, 1), -1),  # magenta
        ],
    )
    def test_saturation_of_a_pixel(self, colour, saturation):
        red = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
        for threshold in (saturation - 0.01, saturation + 0.01):
            expected = saturation > threshold
            assert colour_masks(red, threshold)[0, 0].item() is expected
            assert colour_masks(red.flip(dims=[1]), threshold)[0, 1].item() is expected  # blue


class TestFinder:
    @pytest.mark.parametrize("canvas", [16, 32, 64])
    def test_finds_real_objects_even_where_red_covers_blue(self, canvas):
        objects = place_objects(1000, canvas, seed=0)
        found = find_objects(scale(draw(objects)))
        error = (found.centres - objects.centres).abs().amax(dim=2)
        assert error.max() <= 0.5
        assert error[:, 0].max() == 0
        assert found.circles.equal(objects.circles)
        assert found.good.all()

    def test_nothing_is_found_in_a_white_image(self):
        found = find_objects(white())
        assert found.count.tolist() == found.areas.tolist() == [[0, 0]]
        assert found.centres.isnan().all()
        assert not found.circles.any()
        assert not found.good.any()

    def test_speckles_are_ignored_and_the_largest_object_counts(self):
        images = white()
        fill(images, 0, 0, 8, 9)  # 72 of a circle's 317 pixels
        fill(images, 20, 30, 21, 20)
        assert find_objects(images).count.tolist() == [[1, 0]]
        fill(images, 54, 0, 8, 10)  # just more than a quarter
        found = find_objects(images)
        assert found.count.tolist() == [[2, 0]]
        assert found.centres[0, 0].tolist() == [30, 39.5]
        assert found.areas.tolist() == [[420, 0]]

    def test_pixels_are_connected_across_corners(self):
        images = white()
        fill(images, 10, 10, 10, 10)
        fill(images, 20, 20, 10, 10)
        assert find_objects(images).count[0, 0] == 1

    @pytest.mark.parametrize(
        ("width", "height", "good"),
        [(14, 16, False), (15, 16, True), (21, 26, True), (21, 27, False)],
    )
    def test_a_good_object_has_the_right_area(self, width, height, good):
        images = white()
        fill(images, 5, 5, 21, 21, colour=RED.flip(dims=[0]))
        fill(images, 30, 30, width, height)
        assert find_objects(images).good.tolist() == [good]

    def test_an_image_with_two_objects_of_a_colour_is_not_good(self):
        images = scale(
            draw(Objects(torch.tensor([[[10, 10], [50, 50]]]), torch.ones(1, 2) == 1, 64))
        )
        assert find_objects(images).good.all()
        fill(images, 30, 0, 21, 21)
        assert not find_objects(images).good.any()

    def test_pale_objects_are_found_only_with_a_low_threshold(self):
        images = scale(make_images(1, 64, seed=0)) * 0.6 + 0.4  # a saturation of 0.2
        assert not find_objects(images).good.any()
        assert find_objects(images, threshold=0).good.all()


class TestEntropy:
    def test_by_hand(self):
        points = torch.tensor([[0.0, 0.0], [0.9, 0.9], [0.5, 0.5], [1.5, 0.5]])
        expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
        assert entropy(points, 0, 2, bins=2) == pytest.approx(expected)
        assert entropy(points[:3], 0, 2, bins=2) == 0

    def test_one_point_per_bin_is_the_maximum(self):
        ticks = torch.arange(10) * 6.4 + 3
        assert entropy(torch.cartesian_prod(ticks, ticks), 0, 64) == pytest.approx(math.log(100))

    def test_missing_points_are_left_out(self):
        points = torch.tensor([[math.nan, math.nan], [1.0, 1.0], [99.0, 1.0]])
        assert entropy(points, 0, 2) == entropy(points[:1], 0, 2) == 0

    def test_real_images_have_the_papers_entropies(self):
        found = find_objects(scale(make_images(1000, 64, seed=0)))
        expected = {"red": 4.0, "blue": 4.0, "difference": 3.5}  # figure 7
        assert position_entropies(found) == pytest.approx(expected, abs=0.07)

    def test_the_difference_needs_both_objects(self):
        blue = RED.flip(dims=[0])
        images = white(3)
        for k, left in enumerate((0, 30, 40)):
            fill(images[k : k + 1], left, 5, 21, 21)
            if k < 2:
                fill(images[k : k + 1], left, 40, 21, 21, blue)
        entropies = position_entropies(find_objects(images))
        assert entropies["red"] == pytest.approx(math.log(3))
        assert entropies["blue"] == pytest.approx(math.log(2))
        assert entropies["difference"] == 0  # blue is as far below red in both


class TestCoverage:
    def test_real_images_reach_nearly_all_positions(self):
        assert coverage(find_objects(scale(make_images(1000, 64, seed=0)))) > 0.98

    def test_one_image_reaches_one_position_of_64(self):
        images = scale(make_images(1, 64, seed=0)).expand(5, -1, -1, -1)
        assert coverage(find_objects(images)) == 1 / 64

    def test_only_good_images_count(self):
        images = white(2)
        fill(images, 20, 20, 21, 21)
        assert coverage(find_objects(images)) == 0


class TestNearestReal:
    def test_is_the_distance_to_the_nearest_image(self, monkeypatch):
        torch.manual_seed(0)
        images = torch.rand(7, 3, 16, 16) * 2 - 1
        real = torch.randint(256, (50, 3, 16, 16), dtype=torch.uint8)
        distances = (images[:, None] - scale(real)).double().square().mean(dim=(2, 3, 4)).sqrt()
        expected = distances.min(dim=1).values
        monkeypatch.setattr(metrics, "_VALUES_PER_CHUNK", 8 * 3 * 16 * 16)
        assert nearest_real(images, real) == pytest.approx(expected.mean().item(), rel=1e-6)
        assert nearest_real(images, real, n=2) == pytest.approx(
            expected[:2].mean().item(), rel=1e-6
        )

    def test_is_0_for_copies(self):
        real = make_images(200, 64, seed=0)
        assert nearest_real(scale(real[150:]), real) < 1e-5


def test_sample_metrics_have_their_names():
    real = make_images(300, 32, seed=0)
    metrics = sample_metrics(scale(make_images(300, 32, seed=1)), real)
    assert list(metrics) == [
        "good",
        "coverage",
        "entropy_red",
        "entropy_blue",
        "entropy_difference",
        "nearest_real",
    ]
    assert metrics["good"] == 1
    assert 0.1 < metrics["nearest_real"] < 0.6
    blank = sample_metrics(white(3, 32), real)
    assert list(blank.values())[:5] == [0] * 5
