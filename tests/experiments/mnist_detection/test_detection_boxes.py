"""Boxes: conversions, moves, overlaps and anchors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torchvision.ops import box_convert, box_iou

from rl_coordconv.experiments.mnist_detection.boxes import (
    anchors,
    apply_moves,
    find_moves,
    iou,
    to_centres,
    to_corners,
)


def box(i, j, h, w):
    return torch.tensor([i, j, h, w], dtype=torch.float32)


@st.composite
def batches(draw, number):
    """Boxes ``[3, number, 4]`` on and around a canvas of 64 pixels."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    centres = torch.rand(3, number, 2, generator=generator) * 80 - 8
    sizes = torch.rand(3, number, 2, generator=generator) * 30 + 1
    return torch.cat([centres, sizes], dim=-1)


def test_corners_are_column_first():
    assert to_corners(box(10, 20, 4, 6)).tolist() == [17, 8, 23, 12]
    assert to_centres(torch.tensor([17.0, 8.0, 23.0, 12.0])).tolist() == [10, 20, 4, 6]


def test_a_move_is_relative_to_the_size():
    moves = torch.cat([torch.tensor([0.5, -0.1]), torch.tensor([2.0, 0.5]).log()])
    assert_close(apply_moves(box(10, 20, 4, 10), moves), box(12, 19, 8, 5))
    assert_close(find_moves(box(10, 20, 4, 10), box(12, 19, 8, 5)), moves)


@settings(max_examples=30, deadline=None)
@given(batches(4), batches(1))
def test_found_moves_lead_to_the_target(boxes, targets):
    moved = apply_moves(boxes, find_moves(boxes, targets))
    assert_close(moved, targets.expand_as(boxes), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (box(10, 10, 4, 4), 1),
        (box(10, 12, 4, 4), 8 / 24),
        (box(11, 12, 4, 4), 6 / 26),
        (box(10, 10, 2, 2), 4 / 16),
        (box(10, 14, 4, 4), 0),  # they touch
        (box(30, 30, 4, 4), 0),  # apart along both axes
    ],
)
def test_overlaps_by_hand(second, expected):
    assert iou(box(10, 10, 4, 4)[None], second[None]).item() == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(batches(4), batches(5))
def test_overlaps_of_a_batch_are_those_of_torchvision(first, second):
    found = iou(first, second)
    assert found.shape == (3, 4, 5)
    for image in range(3):
        corners = (
            box_convert(b[image][:, [1, 0, 3, 2]], "cxcywh", "xyxy") for b in (first, second)
        )
        assert_close(found[image], box_iou(*corners))


def test_every_repaired_anchor_is_centred_on_its_cell():
    table = anchors(13, 13, "repaired")
    assert table[2, 7].tolist() == [
        [16, 36, 15, 15],
        [16, 36, 20, 20],
        [16, 36, 25, 25],
        [16, 36, 15, 20],
        [16, 36, 20, 25],
        [16, 36, 20, 15],
        [16, 36, 25, 20],
        [16, 36, 15, 25],
        [16, 36, 25, 15],
    ]
    assert table[0, 0, 0, :2].tolist() == [8, 8]
    assert table[12, 12, 0, :2].tolist() == [56, 56]


def test_released_anchors_are_scrambled_as_in_the_authors_code():
    table = anchors(13, 13, "released")
    assert table[2, 7].tolist() == [
        [16, 16, 16, 16],
        [16, 16, 16, 16],
        [16, 36, 36, 36],
        [36, 36, 36, 36],
        [36, 36, 15, 20],
        [25, 15, 20, 20],
        [25, 15, 25, 15],
        [20, 25, 20, 25],
        [15, 20, 25, 15],
    ]
    assert (table[..., 5:, :] == table[0, 0, 5:]).all()
