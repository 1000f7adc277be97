"""The learner of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from rl_coordconv.experiments.mnist_detection.boxes import clip
from rl_coordconv.experiments.mnist_detection.data import Canvases
from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.faster_rcnn import loss, make_faster_rcnn, predict
from rl_coordconv.experiments.mnist_detection.learner import (
    DETECTED_AT_ONCE,
    DetectionLearner,
    scale,
)
from rl_coordconv.experiments.mnist_detection.names import FasterRCNNModel


class FasterRCNNLearner(DetectionLearner):
    """Faster R-CNN of torchvision, which draws its samples with the global generator."""

    model: FasterRCNN

    def make_network(self) -> FasterRCNN:
        """Return the detector."""
        return make_faster_rcnn(cast(FasterRCNNModel, self.config.model), self.config.canvas)

    def train_on(self, batch: Canvases) -> Mapping[str, Tensor]:
        """Train on a batch, and return torchvision's four losses and their sum."""
        parts = loss(self.model, scale(batch.images), batch.boxes, batch.digits)
        total = torch.stack(list(parts.values())).sum()
        self.descend(total)
        return {"loss": total.detach(), **{name: part.detach() for name, part in parts.items()}}

    def detect(self, images: Tensor) -> list[Detections]:
        """Return the detections in images, on the CPU, best first."""
        parts = images.split(DETECTED_AT_ONCE)
        return [each.cpu() for part in parts for each in predict(self.model, scale(part))]

    def true_boxes(self, canvases: Canvases) -> Tensor:
        """Return the boxes to detect, clipped to the canvas as detections are, on the CPU."""
        return clip(super().true_boxes(canvases), self.config.canvas)
