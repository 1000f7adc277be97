"""Choice of the boxes to train on."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from rl_coordconv.experiments.mnist_detection.boxes import anchors
from rl_coordconv.experiments.mnist_detection.sampling import sample

CANVAS = 64
FAR = [[12, 12 + k, 10, 10] for k in range(7)]  # do not overlap an object in the centre


def table(*boxes):
    return torch.tensor(boxes, dtype=torch.float32)[None]


def numbers_for(boxes, objects, seed=0):
    size = (len(boxes), objects.shape[1] + 1, boxes.shape[1])
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=boxes.dtype)


def drawn(samples, image=0):
    """Return pairs (box, object) and negative boxes, in the order of the draw."""
    boxes, objects, keep, _ = (x[image].tolist() for x in samples)
    pairs = [
        pair for pair, kept in zip(zip(boxes, objects, strict=False), keep, strict=False) if kept
    ]
    return pairs, [box for box, kept in zip(boxes[6:], keep[6:], strict=True) if kept]


class TestReference:
    """Compare with plain Python over one image."""

    @staticmethod
    def overlap(a, b):
        sides = [
            min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2)
            - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2)
            for k in (0, 1)
        ]
        common = max(sides[0], 0) * max(sides[1], 0)
        return common / (a[2] * a[3] + b[2] * b[3] - common)

    @classmethod
    def candidates(cls, moved, objects, canvas, released):
        """Return positive pairs, negative boxes and the name of the branch for negatives."""
        ious = [[cls.overlap(box, obj) for obj in objects] for box in moved]
        best = []
        for obj in range(len(objects)):
            column = [row[obj] for row in ious]
            best.append(column.index(max(column)))
        inside = [
            all(
                box[k] - box[k + 2] / 2 >= 0 and box[k] + box[k + 2] / 2 <= canvas - 1
                for k in (0, 1)
            )
            for box in moved
        ]
        positive, negative = [], []
        for box, row in enumerate(ious):
            for obj, value in enumerate(row):
                if best[obj] == box or (value > 0.5 and inside[box]):
                    positive.append((box, obj))
            if box not in best and inside[box] and max(row) < 0.1:
                negative.append(box)
        branch = "none" if not negative else "few" if len(negative) <= 6 else "many"
        if released:
            if not negative:
                paired = {box for box, _ in positive}
                negative = [box for box in range(len(moved)) if box not in paired]
            if len(negative) <= 6:
                negative = []
        return positive, negative, branch

    @classmethod
    def draw(cls, moved, objects, numbers, canvas, released):
        positive, negative, branch = cls.candidates(moved, objects, canvas, released)
        positive.sort(key=lambda pair: -numbers[pair[1]][pair[0]])
        negative.sort(key=lambda box: -numbers[-1][box])
        return positive[:6], negative[:6], branch

    @pytest.mark.parametrize("released", [False, True])
    def test_samples_are_those_of_plain_python(self, released):
        """Whole numbers give equal boxes, boxes at the border, and overlaps of exactly 0.5."""
        seen = set()
        for seed in range(60):
            draw = partial(torch.randint, generator=torch.Generator().manual_seed(seed))
            canvas, n_boxes, n_objects = 8 + seed % 9, 6 + seed % 17, 1 + seed % 4
            centres = draw(2, canvas - 2, (4, n_boxes + n_objects, 2))
            sizes = 2 * draw(1, 5, (4, n_boxes + n_objects, 2))
            both = torch.cat([centres, sizes], dim=-1).double()
            moved, objects = both[:, :n_boxes], both[:, n_boxes:]
            numbers = numbers_for(moved, objects, seed)
            samples = sample(moved, objects, numbers, canvas, released=released)
            for image in range(4):
                arguments = (x[image].tolist() for x in (moved, objects, numbers))
                positive, negative, branch = self.draw(*arguments, canvas, released)
                assert drawn(samples, image) == (positive, negative)
                seen |= {branch, f"{len(negative)} negatives", f"{len(positive)} positives"}
                seen |= {"shared"} if len({box for box, _ in positive}) < len(positive) else set()
        assert {"none", "few", "many", "shared", "1 positives", "6 positives"} < seen
        assert ("3 negatives" in seen) is not released

    @pytest.mark.parametrize("kind", ["repaired", "released"])
    def test_anchors_that_are_equal_before_training(self, kind):
        """Of the released anchors, the last four are the same in all cells."""
        moved = anchors(13, 13, kind).reshape(1, -1, 4).double().expand(2, -1, -1)
        generator = torch.Generator().manual_seed(0)
        objects = torch.rand(2, 5, 4, generator=generator).double() * torch.tensor([64, 64, 10, 10])
        objects += torch.tensor([0, 0, 15, 15])
        numbers = numbers_for(moved, objects)
        samples = sample(moved, objects, numbers, CANVAS)
        for image in range(2):
            arguments = (x[image].tolist() for x in (moved, objects, numbers))
            assert drawn(samples, image) == self.draw(*arguments, CANVAS, released=False)[:2]


class TestChoice:
    """By hand: an object of 20 pixels in the centre."""

    OBJECT = table([32, 32, 20, 20])

    def choose(self, *boxes, released=False):
        moved = table(*boxes)
        samples = sample(
            moved, self.OBJECT, numbers_for(moved, self.OBJECT), CANVAS, released=released
        )
        positive, negative = drawn(samples)
        return {box for box, _ in positive}, set(negative)

    def test_the_best_box_is_positive_even_where_it_overlaps_little_or_sticks_out(self):
        assert self.choose([60, 60, 50, 50], *FAR[:5])[0] == {0}
        assert self.choose(*FAR[:6])[0] == {0}  # none overlaps: the first of equal ones

    def test_another_box_is_positive_above_half_an_overlap(self):
        """10 and 11 of 20 rows, and a larger box; a box that is half the object is not."""
        boxes = [[32, 32, 20, 20], [32, 32, 10, 20], [32, 32, 11, 20], [32, 32, 20, 39]]
        assert self.choose(*boxes, *FAR[:2])[0] == {0, 2, 3}

    def test_a_negative_overlaps_less_than_a_tenth(self):
        boxes = [[32, 32, 20, 20], [32, 32, 2, 20], [32, 32, 1, 20], [32, 32, 3, 20]]
        assert self.choose(*boxes, [10, 10, 4, 4], [10, 10, 5, 5])[1] == {2, 4, 5}

    def test_only_boxes_inside_the_image_are_negative(self):
        """The last row and column are 63."""
        edges = [[5, 5, 10, 10], [5, 4, 10, 10], [58, 58, 10, 10], [58, 59, 10, 10], [59, 9, 10, 9]]
        assert self.choose([32, 32, 20, 20], *edges)[1] == {1, 3}

    def test_a_good_box_that_sticks_out_is_neither(self):
        moved = table([10, 10, 20, 20], [9, 10, 20, 20], *[[50, 50, 9, 9]] * 4)
        objects = table([10, 10, 20, 20])
        positive, negative = drawn(sample(moved, objects, numbers_for(moved, objects), CANVAS))
        assert positive == [(0, 0)]
        assert set(negative) == {2, 3, 4, 5}

    @pytest.mark.parametrize(("n_far", "repaired", "released"), [(1, 1, 0), (6, 6, 0), (7, 6, 6)])
    def test_the_authors_code_draws_no_negatives_if_there_are_six_or_fewer(
        self, n_far, repaired, released
    ):
        boxes = [[32, 32, 20, 20]] * 5 + FAR[:n_far]
        assert [len(self.choose(*boxes, released=x)[1]) for x in (False, True)] == [
            repaired,
            released,
        ]

    def test_without_negatives_the_authors_code_draws_what_is_not_positive(self):
        """Here, seven boxes with an IOU of a quarter."""
        boxes = [[32, 32, 20, 20], *[[32, 32, 10, 10]] * 7]
        assert self.choose(*boxes) == ({0}, set())
        positive, negative = self.choose(*boxes, released=True)
        assert positive == {0}
        assert len(negative) == 6
        assert self.choose(*boxes[:-1], released=True) == ({0}, set())


def test_every_candidate_is_drawn_equally_often():
    """Of eight pairs and eight negatives, six each: three quarters."""
    boxes = [[32, 32, 20, 20], *[[32, 32, 20, 19]] * 7, *[[12, 12, 10, 10]] * 8]
    moved, objects = (
        table(*boxes).expand(4000, -1, -1),
        table([32, 32, 20, 20]).expand(4000, -1, -1),
    )
    samples = sample(moved, objects, numbers_for(moved, objects), CANVAS)
    assert samples.drawn.all()
    counts = samples.boxes.flatten().bincount(minlength=16) / 4000
    limit = 4 * math.sqrt(0.75 * 0.25 / 4000)
    assert_close(counts, torch.full((16,), 0.75), rtol=0, atol=limit)
