"""The learner of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from rl_coordconv.experiments.mnist_detection.boxes import clip
from rl_coordconv.experiments.mnist_detection.data import Canvases
from rl_coordconv.experiments.mnist_detection.faster_rcnn import loss, make_faster_rcnn, predict
from rl_coordconv.experiments.mnist_detection.learner import (
    DETECTED_AT_ONCE,
    DetectionLearner,
    on_cpu,
    scale,
)
from rl_coordconv.experiments.mnist_detection.names import FasterRCNNModel
from rl_coordconv.experiments.mnist_detection.proposals import Detections, true_detections


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
        return on_cpu([found for part in parts for found in predict(self.model, scale(part))])

    def truth(self, canvases: Canvases) -> list[Detections]:
        """Return the true boxes, clipped to the canvas as detections are, on the CPU.

        A digit's label is the digit plus 1.
        """
        boxes = clip(canvases.boxes.cpu(), self.config.canvas)
        return true_detections(boxes, canvases.digits.cpu() + 1)
