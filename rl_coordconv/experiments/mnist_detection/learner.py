"""The learners' base class: batches of canvases, evaluation and figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.data import Canvases
from rl_coordconv.experiments.mnist_detection.detections import (
    Detections,
    average_precision,
    mean_overlaps,
)
from rl_coordconv.experiments.mnist_detection.figures import grid, make_figures
from rl_coordconv.experiments.mnist_detection.probe import ProbeMaps, probe
from rl_coordconv.experiments.mnist_detection.proposals import N_PROPOSALS
from rl_coordconv.runs.batches import Batches
from rl_coordconv.runs.checkpoint import State
from rl_coordconv.speedups.optimizers import LightAdam

DETECTED_AT_ONCE = 100
"""Canvases per batch of an evaluation."""

_MOMENTUM = 0.9  # the default of the authors' code
_N_SHOWN = 8


class DetectionLearner(ABC):
    """A `Learner` for `fit`, which trains one detector.

    Args:
        config: The settings; the seed also determines the initial weights.
        training: The training canvases, on the device to train on.
        test: The canvases to evaluate on, here called test canvases, on the same device.
    """

    def __init__(self, config: DetectionConfig, training: Canvases, test: Canvases) -> None:
        self.config, self.training, self.test = config, training, test
        self.device = training.images.device
        torch.manual_seed(config.seed)
        self.model: nn.Module = self.make_network()
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self._optimizer = self._make_optimizer()
        self._batches = Batches(
            len(training), config.batch_size, config.seed, self.device, drop_last=True
        )
        self.updates_per_epoch = self._batches.per_epoch

    def _make_optimizer(self) -> Optimizer:
        weights, rate = self.model.parameters(), self.config.learning_rate
        if self.config.optimizer == "sgd":
            return SGD(weights, rate, momentum=_MOMENTUM)
        return LightAdam(weights, rate, capturable=self.device.type == "cuda")

    @abstractmethod
    def make_network(self) -> nn.Module:
        """Return the network."""

    @abstractmethod
    def train_on(self, batch: Canvases) -> Mapping[str, Tensor]:
        """Train on a batch, and return scalars to log."""

    @abstractmethod
    def detect(self, images: Tensor) -> list[Detections]:
        """Return the detections in images, uint8 ``[N, 1, H, W]``, on the CPU, best first."""

    def true_boxes(self, canvases: Canvases) -> Tensor:
        """Return the boxes to detect, ``[N, D, 4]``, on the CPU."""
        return canvases.boxes.cpu()

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch; see `Learner`."""
        self.model.train()
        batch = self.training[self._batches.indices(number)]
        return self.train_on(batch), len(batch)

    def descend(self, loss: Tensor) -> None:
        """Take one step of gradient descent."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()

    def evaluate(self, updates: int) -> dict[str, float]:
        """Return the metrics on the test canvases."""
        return self.metrics(self.detect(self.test.images))

    def metrics(self, found: Sequence[Detections]) -> dict[str, float]:
        """Return overlaps and average precisions of detections in test canvases, and the probe's.

        The overlaps are averaged over the best ten, the most that region proposals return.
        """
        boxes = self.true_boxes(self.test)
        digits = None if self.config.proposes_only else self.test.digits.cpu()
        overlaps = mean_overlaps([each[:N_PROPOSALS] for each in found], boxes)
        precisions = average_precision(found, boxes, digits)
        return self.named({**overlaps, **precisions}) | self.probe().metrics()

    def probe(self) -> ProbeMaps:
        """Return the errors by place; see `probe`."""
        return probe(self.detect, self.config, self.device)

    def named(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return metrics of the test canvases by column, such as ``test/iou``."""
        return {f"{self.config.evaluate_on}/{name}": value for name, value in metrics.items()}

    def images(self) -> dict[str, Tensor]:
        """Return some test canvases in a grid, with true and detected boxes."""
        shown = self.test[slice(_N_SHOWN)]
        found = self.detect(shown.images)
        name = f"{self.config.evaluate_on}/images"
        return {name: grid(shown.images.cpu(), self.true_boxes(shown), found)}

    def figures(self) -> dict[str, Figure]:
        """Draw the best, median and worst test canvases, and the probe's maps."""
        found = self.detect(self.test.images)
        boxes = self.true_boxes(self.test)
        return make_figures(self.test.images.cpu(), boxes, found, self.probe())

    def state(self) -> State:
        """Return the state that a new learner needs to resume."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Load a state that `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def scale(images: Tensor) -> Tensor:
    """Scale uint8 images to float32 in [0, 1]."""
    return images / 255
