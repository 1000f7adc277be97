"""torchvision's Faster R-CNN (Ren et al. 2015) with a small backbone, for canvases of digits.

The authors' code has its first stage only. Coordinates are in the backbone's first convolution, in
both heads, or nowhere; the networks are equal otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign

from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.coordconv import CoordConv2d, add_coords
from rl_coordconv.experiments.mnist_detection.boxes import (
    ANCHOR_SIZES,
    STRIDE,
    clip,
    to_centres,
    to_corners,
)
from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.names import FasterRCNNModel

_N_CLASSES = 11  # the background is 0, and digit d is d + 1
_CHANNELS = 64  # of the feature map
_HIDDEN = 128  # units in each layer of the box head
_ROI_SIZE = 7  # height and width of the features of a region, which has 4 to 6 cells per side


# torchvision has no annotations.
class CoordRoIAlign(MultiScaleRoIAlign):  # type: ignore[misc]
    """RoIAlign that appends the map's coordinates to each region's features.

    Coordinates are appended before pooling, so that they are those of the region on the canvas.
    """

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """Return the features of all boxes, ``[K, C + 2, size, size]``.

        Args:
            x: Feature maps ``[B, C, H, W]`` by name.
            boxes: The boxes of each image as corners in pixels.
            image_shapes: Height and width of each image.
        """
        with_coords = {name: add_coords(features) for name, features in x.items()}
        pooled: Tensor = super().forward(with_coords, boxes, image_shapes)
        return pooled


def make_faster_rcnn(model: FasterRCNNModel, size: int = 64) -> FasterRCNN:
    """Build a Faster R-CNN.

    Args:
        model: A name in `names.FasterRCNNModel`.
        size: Height and width of the images, in pixels; a multiple of 4.
    """
    coords_in_heads = model == "faster-rcnn-coordconv-heads"
    roi_align = CoordRoIAlign if coords_in_heads else MultiScaleRoIAlign
    channels = _CHANNELS + 2 * coords_in_heads
    return FasterRCNN(
        _backbone(model),
        min_size=size,
        max_size=size,
        size_divisible=STRIDE,
        image_mean=[0.0],
        image_std=[1.0],
        rpn_anchor_generator=_anchor_generator(),
        rpn_head=_rpn_head(coords_in_heads),
        # Smaller than torchvision's numbers, which are for photographs with up to 100 objects.
        rpn_pre_nms_top_n_train=400,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_train=100,
        rpn_post_nms_top_n_test=50,
        rpn_batch_size_per_image=64,
        box_roi_pool=roi_align(["0"], output_size=_ROI_SIZE, sampling_ratio=1),
        box_head=TwoMLPHead(channels * _ROI_SIZE**2, _HIDDEN),
        box_predictor=FastRCNNPredictor(_HIDDEN, _N_CLASSES),
        box_batch_size_per_image=32,
    )


def loss(
    network: FasterRCNN, images: Tensor, boxes: Tensor, digits: Tensor
) -> Mapping[str, Tensor]:
    """Return torchvision's four losses, averaged over the batch; their sum is to be minimised.

    Args:
        network: The network, which is set to training mode.
        images: ``[B, 1, H, W]`` in [0, 1].
        boxes: ``(i, j, h, w)`` in pixels, ``[B, D, 4]``; they are clipped to the canvas, as
            torchvision requires.
        digits: 0 to 9, ``[B, D]``.
    """
    network.train()
    corners = to_corners(clip(boxes, images.shape[-1]))
    pairs = zip(corners, digits + 1, strict=True)
    targets = [{"boxes": own, "labels": labels} for own, labels in pairs]
    losses: Mapping[str, Tensor] = network(list(images), targets)
    return losses


@torch.no_grad()
def predict(network: FasterRCNN, images: Tensor) -> list[Detections]:
    """Find the digits in images; boxes are clipped to the canvas.

    Args:
        network: The network, which is set to evaluation mode.
        images: ``[B, 1, H, W]`` in [0, 1].
    """
    network.eval()
    return [
        Detections(to_centres(found["boxes"]), found["labels"] - 1, found["scores"])
        for found in network(list(images))
    ]


class _Backbone(nn.Sequential):
    out_channels = _CHANNELS  # read by torchvision


def _backbone(model: FasterRCNNModel) -> _Backbone:
    """Return the convolutions: images to features ``[B, C, H / 4, W / 4]``."""
    kind = model.removeprefix("faster-rcnn").removeprefix("-")
    layers: dict[str, type[nn.Conv2d]] = {
        "coordconv": CoordConv2d,
        "zeros": COORD_LAYERS["zeros"],
        "noise": COORD_LAYERS["noise"],
    }
    return _Backbone(
        layers.get(kind, nn.Conv2d)(1, 32, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(32, _CHANNELS, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _anchor_generator() -> AnchorGenerator:
    """Return a generator of the paper's nine anchors, centred on the map's cells."""
    generator = AnchorGenerator(((15, 20, 25),), ((0.75, 1.0, 1.25),))
    centres = torch.full_like(ANCHOR_SIZES, STRIDE / 2)
    generator.cell_anchors = [to_corners(torch.cat([centres, ANCHOR_SIZES], dim=1))]
    return generator


def _rpn_head(sees_coords: bool) -> RPNHead:
    """Return the head of the first stage, with coordinates in its 3x3 convolution or without."""
    head = RPNHead(_CHANNELS, len(ANCHOR_SIZES))
    if sees_coords:
        conv = CoordConv2d.from_conv(head.conv[0][0])
        nn.init.normal_(conv.weight, std=0.01)  # as in RPNHead
        head.conv[0][0] = conv
    return head
