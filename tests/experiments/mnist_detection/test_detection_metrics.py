"""Metrics of detections, against values computed by hand."""

import pytest
import torch

from rl_coordconv.experiments.mnist_detection.detections import (
    Detections,
    average_precision,
    mean_overlaps,
)


def table(*boxes):
    return torch.tensor(boxes, dtype=torch.float32)[None]


def found_in(boxes, *scores, digits=(0, 0)):
    """Return the detections of one image, from boxes ``[1, K, 4]``."""
    digits = torch.tensor(digits)[: boxes.shape[1]]
    return [Detections(boxes[0], digits, torch.tensor(scores))]


TWO = table([10, 10, 10, 20], [40, 40, 20, 10])


class TestOverlaps:
    def test_the_authors_metrics_by_hand(self):
        """IOUs with two objects: 1 and 0, 0.5 and 0 in one image; 0.25 and 0 in the other."""
        boxes = table([10, 10, 10, 20], [10, 10, 5, 20]), table([40, 40, 10, 5])
        found = [found_in(each, *[0.5] * each.shape[1])[0] for each in boxes]
        values = mean_overlaps(found, TWO.expand(2, -1, -1))
        assert values == {
            "iou": pytest.approx((0.75 + 0.25) / 2),
            "pair_iou": pytest.approx((0.375 + 0.125) / 2),
        }

    def test_an_image_without_detections_counts_as_zero(self):
        found = found_in(TWO, 0.5, 0.5) + found_in(TWO[:, :0])
        values = mean_overlaps(found, TWO.expand(2, -1, -1))
        assert values == {"iou": pytest.approx(0.5), "pair_iou": pytest.approx(0.25)}


class TestAveragePrecision:
    def test_perfect_boxes(self):
        values = average_precision(found_in(TWO, 0.9, 0.8), TWO)
        assert values == {"ap": 1, "ap50": 1, "ap75": 1, "recall": 1}

    def test_one_of_two_is_found(self):
        """The precision is 1 at 51 of COCO's 101 values of the recall, from 0 to 0.5."""
        values = average_precision(found_in(TWO[:, :1], 0.9), TWO)
        ap = pytest.approx(51 / 101)
        assert values == {"ap": ap, "ap50": ap, "ap75": ap, "recall": 0.5}

    def test_none_is_found(self):
        nothing = {"ap": 0, "ap50": 0, "ap75": 0, "recall": 0}
        assert average_precision(found_in(TWO[:, :0]), TWO) == nothing
        assert average_precision(found_in(table([60, 60, 5, 5]), 0.9), TWO) == nothing

    def test_a_better_score_of_a_wrong_box_halves_the_precision(self):
        found = found_in(table([60, 60, 5, 5], [10, 10, 10, 20]), 0.9, 0.8)
        assert average_precision(found, TWO)["ap"] == pytest.approx(51 / 101 / 2)

    def test_boxes_that_overlap_by_0_72_count_up_to_an_iou_of_0_7(self):
        """Five of the ten IOUs from 0.5 to 0.95, and 0.5 but not 0.75."""
        found = found_in(TWO * torch.tensor([1, 1, 1, 0.72]), 0.9, 0.8)
        values = average_precision(found, TWO)
        assert values == pytest.approx({"ap": 0.5, "ap50": 1, "ap75": 0, "recall": 0.5})

    def test_a_wrong_digit_is_not_found(self):
        true = torch.tensor([[3, 7]])
        for digits, recall in (((3, 7), 1), ((3, 5), 0.5), ((7, 3), 0)):
            found = found_in(TWO, 0.9, 0.8, digits=digits)
            assert average_precision(found, TWO, true)["recall"] == recall
            assert average_precision(found, TWO)["recall"] == 1
