"""Test metrics against values computed by hand."""

import pytest
import torch

from rl_coordconv.experiments.not_so_clevr.metrics import (
    accuracy,
    iou,
    pixel_distance,
    predicted_xy,
)


def logits_with_peaks(*pixels):
    logits = torch.zeros(len(pixels), 1, 3, 4)
    logits.flatten(1)[range(len(pixels)), pixels] = 1
    return logits


def test_accuracy_is_the_fraction_of_correct_pixels():
    logits = logits_with_peaks(0, 5, 11, 7)
    assert accuracy(logits, torch.tensor([0, 5, 11, 6])) == 0.75


def test_predicted_xy_is_column_then_row():
    assert predicted_xy(logits_with_peaks(0, 7, 8)).tolist() == [[0, 0], [3, 1], [0, 2]]


def test_distances_are_means_over_samples():
    predicted, xy = torch.tensor([[3, 4], [1, 1]]), torch.tensor([[0, 0], [1, 1]])
    assert pixel_distance(predicted, xy) == pytest.approx(2.5)
    assert pixel_distance(predicted, xy, norm=1) == pytest.approx(3.5)


class TestIou:
    true = torch.tensor([[1.0, 1], [0, 0]]).view(1, 1, 2, 2)

    @pytest.mark.parametrize(
        ("logits", "expected"),
        [
            ([[5, 5], [-5, -5]], 1),
            ([[5, 5], [5, 5]], 1 / 2),
            ([[5, -5], [5, -5]], 1 / 3),
            ([[-5, -5], [5, 5]], 0),
            ([[0, 0], [0, 0]], 0),  # a probability of 0.5 is not above 0.5
        ],
    )
    def test_iou_of_one_image(self, logits, expected):
        logits = torch.tensor(logits).view(1, 1, 2, 2)
        assert iou(logits, self.true) == pytest.approx(expected)

    def test_iou_is_a_mean_over_images_not_over_pixels(self):
        logits = torch.tensor([[[5.0, 5], [-5, -5]], [[5, 5], [5, 5]]]).view(2, 1, 2, 2)
        assert iou(logits, self.true.expand(2, 1, 2, 2)) == pytest.approx(0.75)
