"""The learner of the region proposals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from rl_coordconv.experiments.mnist_detection.boxes import anchors, apply_moves
from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.data import Canvases
from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.learner import (
    DETECTED_AT_ONCE,
    DetectionLearner,
    scale,
)
from rl_coordconv.experiments.mnist_detection.names import RPNModel
from rl_coordconv.experiments.mnist_detection.proposals import propose
from rl_coordconv.experiments.mnist_detection.rpn import ProposalNetwork, grid_side
from rl_coordconv.experiments.mnist_detection.sampling import losses, sample
from rl_coordconv.runs.capture import Captured

_TEST_SEED = 0  # of the random numbers of test losses, the same for all runs


class ProposalLearner(DetectionLearner):
    """The paper's region proposals."""

    def __init__(self, config: DetectionConfig, training: Canvases, test: Canvases) -> None:
        super().__init__(config, training, test)
        side = grid_side(config.canvas)
        self._anchors = anchors(side, side, config.anchors).reshape(-1, 4).to(self.device)
        self._step = Captured(self.step)

    def make_network(self) -> ProposalNetwork:
        """Return the paper's network."""
        return ProposalNetwork(cast(RPNModel, self.config.model))

    def train_on(self, batch: Canvases) -> Mapping[str, Tensor]:
        """Train on a batch, with samples drawn by the global random number generator."""
        numbers = torch.rand(self._numbers_shape(len(batch)), device=self.device)
        return self._step(batch.images, batch.boxes, numbers)

    def step(self, images: Tensor, objects: Tensor, numbers: Tensor) -> Mapping[str, Tensor]:
        """Train on uint8 images and their boxes; see `sampling.sample` for the random numbers."""
        moves, scores = self.model(scale(images))
        parts = self._losses(moves, scores, objects, numbers)
        self.descend(parts["loss"])
        return {name: part.detach() for name, part in parts.items()}

    def _losses(
        self, moves: Tensor, scores: Tensor, objects: Tensor, numbers: Tensor
    ) -> dict[str, Tensor]:
        moved = apply_moves(self._anchors, moves.detach())
        released = self.config.anchors == "released"
        samples = sample(moved, objects, numbers, self.config.canvas, released=released)
        return losses(moves, scores, self._anchors, objects, samples)

    def _numbers_shape(self, n_images: int) -> tuple[int, int, int]:
        return n_images, self.config.n_digits + 1, len(self._anchors)

    @torch.no_grad()
    def _predict(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute moves and scores for any number of uint8 images."""
        self.model.eval()
        outputs = [self.model(scale(part)) for part in images.split(DETECTED_AT_ONCE)]
        moves, scores = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return moves, scores

    def _propose(self, moves: Tensor, scores: Tensor) -> list[Detections]:
        return [each.cpu() for each in propose(apply_moves(self._anchors, moves), scores)]

    def detect(self, images: Tensor) -> list[Detections]:
        """Return at most ten proposals per image, on the CPU, best first."""
        return self._propose(*self._predict(images))

    @torch.no_grad()
    def evaluate(self, updates: int) -> dict[str, float]:
        """Return the metrics and losses on the test canvases."""
        moves, scores = self._predict(self.test.images)
        metrics = self.metrics(self._propose(moves, scores))
        generator = torch.Generator().manual_seed(_TEST_SEED)
        sums: dict[str, float] = {}
        parts = (x.split(DETECTED_AT_ONCE) for x in (moves, scores, self.test.boxes))
        for own_moves, own_scores, objects in zip(*parts, strict=True):
            shape = self._numbers_shape(len(objects))
            numbers = torch.rand(shape, generator=generator).to(self.device)
            for name, loss in self._losses(own_moves, own_scores, objects, numbers).items():
                sums[name] = sums.get(name, 0) + loss.item() * len(objects)
        return metrics | self.named({k: total / len(self.test) for k, total in sums.items()})
