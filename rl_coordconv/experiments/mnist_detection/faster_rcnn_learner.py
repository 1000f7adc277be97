"""The learner of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rl_coordconv.experiments.mnist_detection.data import Canvases
from rl_coordconv.experiments.mnist_detection.faster_rcnn import make_detector
from rl_coordconv.experiments.mnist_detection.learner import (
    DETECTED_AT_ONCE,
    DetectionLearner,
    on_cpu,
    scale,
)
from rl_coordconv.experiments.mnist_detection.names import FasterRCNNModel
from rl_coordconv.experiments.mnist_detection.proposals import Detections, true_detections


class FasterRCNNLearner(DetectionLearner):
    """Faster R-CNN of torchvision, which draws its samples by the global generator."""

    def make_network(self) -> nn.Module:
        """Return the detector."""
        return make_detector(cast(FasterRCNNModel, self.config.model), self.config.canvas)

    def train_on(self, batch: Canvases) -> Mapping[str, Tensor]:
        """Train on a batch."""
        targets = true_detections(batch.boxes, batch.digits + 1)
        parts: dict[str, Tensor] = self.model(list(scale(batch.images)), targets)
        loss = torch.stack(list(parts.values())).sum()
        self.descend(loss)
        return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[Detections]:
        """Return the detections in images, on the CPU, best first."""
        self.model.eval()
        found = [
            one for part in images.split(DETECTED_AT_ONCE) for one in self.model(list(scale(part)))
        ]
        return on_cpu(found)

    def truth(self, canvases: Canvases) -> list[Detections]:
        """Return the true boxes, with the digit plus 1 as label."""
        return true_detections(canvases.boxes.cpu(), canvases.digits.cpu() + 1)
