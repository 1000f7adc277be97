"""Faster R-CNN: sizes, places of the coordinates, and the conversion of boxes and labels."""

from typing import get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign

from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.experiments.mnist_detection.boxes import iou
from rl_coordconv.experiments.mnist_detection.faster_rcnn import (
    CoordRoIAlign,
    loss,
    make_faster_rcnn,
    predict,
)
from rl_coordconv.experiments.mnist_detection.names import FasterRCNNModel

MODELS = get_args(FasterRCNNModel)
BASELINE, COORDCONV, HEADS, ZEROS, NOISE = MODELS


def n_parameters(network):
    return sum(p.numel() for p in network.parameters())


def blank_map():
    return {"0": torch.ones(1, 64, 16, 16)}


def test_models_differ_by_the_weights_of_the_coordinates_only():
    more = [
        n_parameters(make_faster_rcnn(m)) - n_parameters(make_faster_rcnn(BASELINE)) for m in MODELS
    ]
    first, heads = 2 * 32 * 5 * 5, 2 * 64 * 3 * 3 + 2 * 7 * 7 * 128
    assert more == [0, first, heads, first, first]


@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (BASELINE, nn.Conv2d),
        (COORDCONV, CoordConv2d),
        (HEADS, nn.Conv2d),
        (ZEROS, COORD_LAYERS["zeros"]),
        (NOISE, COORD_LAYERS["noise"]),
    ],
)
def test_coordinates_in_the_backbone_are_in_its_first_convolution(model, layer):
    convolutions = [x for x in make_faster_rcnn(model).backbone if isinstance(x, nn.Conv2d)]
    assert [type(x) for x in convolutions] == [layer, nn.Conv2d, nn.Conv2d]


def test_pooled_coordinates_are_those_of_the_box_on_the_canvas():
    """Corners in pixels become columns 4 to 10 and rows 2 to 8 of 16, without an offset."""
    align = CoordRoIAlign(["0"], output_size=3, sampling_ratio=1)
    box = torch.tensor([[16.0, 8.0, 40.0, 32.0]])
    pooled = align(blank_map(), [box], [(64, 64)])[0]
    assert (pooled[:64] == 1).all()
    rows, columns = torch.tensor([3.0, 5.0, 7.0]), torch.tensor([5.0, 7.0, 9.0])
    i, j = pooled[64:]
    assert_close(i, (-1 + 2 * rows / 15)[:, None].expand(3, 3))
    assert_close(j, (-1 + 2 * columns / 15).expand(3, 3))


@pytest.mark.parametrize("model", MODELS)
def test_only_coordinates_in_the_heads_let_them_know_where_a_box_is(model):
    """On a blank map, all that differs between boxes of one size is their place."""
    torch.manual_seed(0)
    network = make_faster_rcnn(model)
    boxes = torch.tensor([[8.0, 8.0, 28.0, 28.0], [32.0, 20.0, 52.0, 40.0]])
    heads = network.roi_heads
    features = heads.box_head(heads.box_roi_pool(blank_map(), [boxes], [(64, 64)]))
    cells = network.rpn.head.conv(blank_map()["0"])[0, :, 1:-1, 1:-1]  # padding changes the border
    differences = (features[0] - features[1]).abs().max(), cells.std(dim=(1, 2)).max()
    assert type(heads.box_roi_pool) is (CoordRoIAlign if model == HEADS else MultiScaleRoIAlign)
    for difference in differences:
        assert difference > 1e-3 if model == HEADS else difference < 1e-6


def test_anchors_are_the_papers_nine_centred_on_the_cells():
    images = ImageList(torch.zeros(1, 1, 64, 64), [(64, 64)])
    (anchors,) = make_faster_rcnn(BASELINE).rpn.anchor_generator(
        images, [torch.zeros(1, 64, 16, 16)]
    )
    x1, y1, x2, y2 = anchors.reshape(16, 16, 9, 4).unbind(-1)
    assert ((x1 + x2) / 2)[2, 7].tolist() == [30] * 9
    assert ((y1 + y2) / 2)[2, 7].tolist() == [10] * 9
    assert (y2 - y1)[2, 7].tolist() == [15, 20, 25, 15, 20, 20, 25, 15, 25]
    assert (x2 - x1)[2, 7].tolist() == [15, 20, 25, 20, 25, 15, 20, 25, 15]


class Recorder(nn.Module):
    """A detector that records its input and returns fixed detections."""

    def forward(self, images, targets=None):
        self.images, self.targets = images, targets
        boxes = torch.tensor([[17.0, 8.0, 23.0, 12.0], [0.0, 0.0, 64.0, 32.0]])
        found = {
            "boxes": boxes,
            "labels": torch.tensor([1, 10]),
            "scores": torch.tensor([0.9, 0.3]),
        }
        return {"loss": torch.zeros(())} if self.training else [found]


def test_a_loss_gets_clipped_corners_and_labels_from_1():
    boxes = torch.tensor([[[10.0, 20, 4, 6], [2, 62, 20, 10]], [[32, 32, 20, 20], [1, 1, 2, 2]]])
    network = Recorder().eval()
    loss(network, torch.rand(2, 1, 64, 64), boxes, torch.tensor([[0, 9], [3, 4]]))
    assert [x["boxes"].tolist() for x in network.targets] == [
        [[17, 8, 23, 12], [57, 0, 64, 12]],
        [[22, 22, 42, 42], [0, 0, 2, 2]],
    ]
    assert [x["labels"].tolist() for x in network.targets] == [[1, 10], [4, 5]]


def test_predictions_are_boxes_and_digits():
    (found,) = predict(Recorder().train(), torch.rand(1, 1, 64, 64))
    assert found.boxes.tolist() == [[10, 20, 4, 6], [16, 32, 32, 64]]
    assert found.digits.tolist() == [0, 9]
    assert found.scores.tolist() == pytest.approx([0.9, 0.3])


def test_a_network_learns_one_canvas():
    """Two rectangles on 32 pixels."""
    torch.manual_seed(0)
    network = make_faster_rcnn(HEADS, size=32)
    images = torch.zeros(2, 1, 32, 32)
    images[:, :, 1:17, 2:18] = 1
    images[:, :, 12:30, 14:30] = 0.5
    boxes = torch.tensor([[9.0, 10, 16, 16], [21, 22, 18, 16]]).repeat(2, 1, 1)
    digits = torch.tensor([[3, 7]] * 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(50):
        optimizer.zero_grad()
        torch.stack(list(loss(network, images, boxes, digits).values())).sum().backward()
        optimizer.step()
    alone, together = predict(network, images[:1])[0], predict(network, images)[1]
    assert_close(alone.boxes, together.boxes, atol=1e-3, rtol=0)
    order = together.digits[:2].argsort()
    assert together.digits[:2][order].tolist() == [3, 7]
    assert iou(together.boxes[:2][order], boxes[0]).diagonal().min() > 0.7
