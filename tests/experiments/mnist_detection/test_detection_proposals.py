"""Proposals of test images, against values computed by hand."""

import math

import pytest
import torch
from torchvision.ops import nms

from rl_coordconv.experiments.mnist_detection.boxes import to_corners
from rl_coordconv.experiments.mnist_detection.proposals import propose


def table(*boxes):
    return torch.tensor(boxes, dtype=torch.float32)[None]


def logits(*chances):
    """Logits ``[1, N, 2]`` of objects with these probabilities."""
    return torch.tensor([[[math.log(p), math.log(1 - p)] for p in chances]])


TWO = table([10, 10, 10, 20], [40, 40, 20, 10])


class TestProposals:
    def test_the_best_come_first_and_with_their_probability(self):
        (found,) = propose(TWO, logits(0.25, 0.75))
        assert found.boxes.tolist() == [[40, 40, 20, 10], [10, 10, 10, 20]]
        assert found.scores.tolist() == pytest.approx([0.75, 0.25])
        assert found.digits.tolist() == [0, 0]

    def test_a_proposal_that_overlaps_a_better_one_by_more_than_four_fifths_is_left_out(self):
        """A box of 20 rows, and 17, 15 and 13 of them: 0.85, 0.75, and 13/15 of the third."""
        moved = table(*[[32, 32, h, 10] for h in (20, 17, 15, 13)])
        (found,) = propose(moved, logits(0.9, 0.8, 0.7, 0.6))
        assert found.boxes[:, 2].tolist() == [20, 15]
        # A suppressed box suppresses no others: 13/17 of the second, 0.65 of the first.
        (found,) = propose(moved[:, [0, 1, 3]], logits(0.9, 0.8, 0.7))
        assert found.boxes[:, 2].tolist() == [20, 13]

    def test_there_are_at_most_ten(self):
        moved = table(*[[10 * k, 10 * k, 8, 8] for k in range(12)])
        (found,) = propose(moved, logits(*[0.05 + k / 20 for k in range(12)]))
        assert found.boxes[:, 0].tolist() == [10.0 * k for k in range(11, 1, -1)]

    @pytest.mark.parametrize("n_equal", [1, 1400])
    def test_proposals_are_the_first_of_all_boxes_that_remain(self, n_equal):
        """Also if the best boxes are equal, so that most proposals have worse scores."""
        generator = torch.Generator().manual_seed(0)
        moved = 20 + 30 * torch.rand(3, 1521, 4, generator=generator)
        scores = torch.randn(3, 1521, 2, generator=generator).round(decimals=1)  # some are equal
        moved[:, :n_equal] = moved[:, :1]
        scores[:, :n_equal, 0] += 5
        for image, found in enumerate(propose(moved, scores)):
            chances = scores[image].softmax(dim=1)[:, 0]
            kept = nms(to_corners(moved[image]), chances, 0.8)[:10]
            assert len(kept) == 10
            assert torch.equal(found.boxes, moved[image, kept])
            assert torch.equal(found.scores, chances[kept])

    def test_images_of_a_batch_do_not_suppress_each_other(self):
        found = propose(TWO.expand(2, -1, -1), torch.cat([logits(0.4, 0.6), logits(0.6, 0.4)]))
        assert [each.boxes[:, 0].tolist() for each in found] == [[40, 10], [10, 40]]
