"""Proposals of test images and their metrics, against values computed by hand."""

import math

import pytest
import torch

from rl_coordconv.experiments.mnist_detection.boxes import to_centres
from rl_coordconv.experiments.mnist_detection.proposals import (
    average_precision,
    mean_overlaps,
    propose,
    true_detections,
)


def table(*boxes):
    return torch.tensor(boxes, dtype=torch.float32)[None]


def logits(*chances):
    """Logits ``[1, N, 2]`` of objects with these probabilities."""
    return torch.tensor([[[math.log(p), math.log(1 - p)] for p in chances]])


def detections(objects, *scores, labels=None):
    (found,) = true_detections(objects, labels)
    return [{**found, "scores": torch.tensor(scores)}]


TWO = table([10, 10, 10, 20], [40, 40, 20, 10])


class TestProposals:
    def test_the_best_come_first_and_with_their_probability(self):
        (found,) = propose(TWO, logits(0.25, 0.75))
        assert found["boxes"].tolist() == [[35, 30, 45, 50], [0, 5, 20, 15]]
        assert found["scores"].tolist() == pytest.approx([0.75, 0.25])
        assert found["labels"].tolist() == [1, 1]

    def test_a_proposal_that_overlaps_a_better_one_by_more_than_four_fifths_is_left_out(self):
        """A box of 20 rows, and 17, 15 and 13 of them: 0.85, 0.75, and 13/15 of the third."""
        moved = table(*[[32, 32, h, 10] for h in (20, 17, 15, 13)])
        (found,) = propose(moved, logits(0.9, 0.8, 0.7, 0.6))
        assert to_centres(found["boxes"])[:, 2].tolist() == [20, 15]
        # What is left out leaves out nothing: 13/17 of the second, 0.65 of the first.
        (found,) = propose(moved[:, [0, 1, 3]], logits(0.9, 0.8, 0.7))
        assert to_centres(found["boxes"])[:, 2].tolist() == [20, 13]

    def test_there_are_at_most_ten(self):
        moved = table(*[[10 * k, 10 * k, 8, 8] for k in range(12)])
        (found,) = propose(moved, logits(*[0.05 + k / 20 for k in range(12)]))
        assert to_centres(found["boxes"])[:, 0].tolist() == [10.0 * k for k in range(11, 1, -1)]

    def test_many_boxes_beside_each_other_leave_out_worse_ones(self):
        """The best 300 boxes are almost equal, so other ones are needed for ten proposals."""
        moved = table(*[[10, 10 + k / 1000, 20, 20] for k in range(300)], *TWO[0].tolist())
        (found,) = propose(moved, logits(*[0.9 - k / 1000 for k in range(302)]))
        assert to_centres(found["boxes"]).tolist() == [[10, 10, 20, 20], *TWO[0].tolist()]

    def test_images_of_a_batch_do_not_suppress_each_other(self):
        found = propose(TWO.expand(2, -1, -1), torch.cat([logits(0.4, 0.6), logits(0.6, 0.4)]))
        assert [each["boxes"].tolist() for each in found] == [
            [[35, 30, 45, 50], [0, 5, 20, 15]],
            [[0, 5, 20, 15], [35, 30, 45, 50]],
        ]


class TestOverlaps:
    def test_the_authors_metrics_by_hand(self):
        """IOUs with two objects: 1 and 0, 0.5 and 0 in one image; 0.25 and 0 in the other."""
        boxes = table([10, 10, 10, 20], [10, 10, 5, 20]), table([40, 40, 10, 5])
        found = [detections(each, *[0.5] * each.shape[1])[0] for each in boxes]
        values = mean_overlaps(found, TWO.expand(2, -1, -1))
        assert values == {
            "iou": pytest.approx((0.75 + 0.25) / 2),
            "pair_iou": pytest.approx((0.375 + 0.125) / 2),
        }

    def test_an_image_without_detections_counts_as_zero(self):
        found = detections(TWO, 0.5, 0.5) + detections(TWO[:, :0])
        values = mean_overlaps(found, TWO.expand(2, -1, -1))
        assert values == {"iou": pytest.approx(0.5), "pair_iou": pytest.approx(0.25)}


class TestAveragePrecision:
    TRUE = true_detections(TWO)

    def test_perfect_boxes(self):
        values = average_precision(detections(TWO, 0.9, 0.8), self.TRUE)
        assert values == {"ap": 1, "ap50": 1, "ap75": 1, "recall": 1}

    def test_one_of_two_is_found(self):
        """The precision is 1 at 51 of COCO's 101 values of the recall, from 0 to 0.5."""
        values = average_precision(detections(TWO[:, :1], 0.9), self.TRUE)
        ap = pytest.approx(51 / 101)
        assert values == {"ap": ap, "ap50": ap, "ap75": ap, "recall": 0.5}

    def test_none_is_found(self):
        nothing = {"ap": 0, "ap50": 0, "ap75": 0, "recall": 0}
        assert average_precision(detections(TWO[:, :0]), self.TRUE) == nothing
        assert average_precision(detections(table([60, 60, 5, 5]), 0.9), self.TRUE) == nothing

    def test_a_better_score_of_a_wrong_box_halves_the_precision(self):
        found = detections(table([60, 60, 5, 5], [10, 10, 10, 20]), 0.9, 0.8)
        assert average_precision(found, self.TRUE)["ap"] == pytest.approx(51 / 101 / 2)

    def test_boxes_that_overlap_by_0_72_count_up_to_an_iou_of_0_7(self):
        """Five of the ten IOUs from 0.5 to 0.95, and 0.5 but not 0.75."""
        found = detections(TWO * torch.tensor([1, 1, 1, 0.72]), 0.9, 0.8)
        values = average_precision(found, self.TRUE)
        assert values == pytest.approx({"ap": 0.5, "ap50": 1, "ap75": 0, "recall": 0.5})

    def test_a_wrong_label_is_not_found(self):
        true = true_detections(TWO, torch.tensor([[3, 7]]))
        found = detections(TWO, 0.9, 0.8, labels=torch.tensor([[3, 5]]))
        assert average_precision(found, true)["recall"] == 0.5
        assert average_precision(
            detections(TWO, 0.9, 0.8, labels=torch.tensor([[3, 7]])), true
        ) == {
            "ap": 1,
            "ap50": 1,
            "ap75": 1,
            "recall": 1,
        }
