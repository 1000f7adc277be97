"""The inputs, targets, losses and metrics of each toy task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from rl_coordconv.experiments.not_so_clevr.data import Samples, normalise
from rl_coordconv.experiments.not_so_clevr.metrics import (
    accuracy,
    iou,
    pixel_distance,
    predicted_xy,
)

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Samples], float]


@dataclass(frozen=True)
class Task:
    """One of the three tasks.

    Args:
        inputs: Functions from samples to the network's inputs ``[N, ...]``, by name; the paper's
            is first.
        targets: Function from samples to the targets of the loss, ``[N, ...]``.
        losses: Functions of outputs and targets, by name, averaged over the batch; the paper's is
            first.
        metrics: Functions of outputs and samples, by name; the main metric is first.
        lower_is_better: Whether lower values of the main metric are better.
    """

    inputs: dict[str, Callable[[Samples], Tensor]]
    targets: Callable[[Samples], Tensor]
    losses: dict[str, Loss]
    metrics: dict[str, Metric]
    lower_is_better: bool = False

    @property
    def metric(self) -> str:
        """The name of the main metric."""
        return next(iter(self.metrics))


def _regression_distance(shares: Tensor, samples: Samples) -> float:
    return pixel_distance(shares * samples.canvas, samples.xy)


def _softmax_cross_entropy(logits: Tensor, pixels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(1), pixels)


_COORDINATES: dict[str, Callable[[Samples], Tensor]] = {
    "raw": lambda samples: samples.xy.float(),
    "normalised": lambda samples: normalise(samples.xy, samples.canvas),
}

TASKS = {
    "classification": Task(
        inputs=_COORDINATES,
        targets=lambda samples: samples.pixels,
        losses={"softmax": _softmax_cross_entropy},
        metrics={
            "accuracy": lambda logits, samples: accuracy(logits, samples.pixels),
            "euclidean_pixels": lambda logits, samples: pixel_distance(
                predicted_xy(logits), samples.xy
            ),
            "manhattan_pixels": lambda logits, samples: pixel_distance(
                predicted_xy(logits), samples.xy, norm=1
            ),
        },
    ),
    "rendering": Task(
        inputs=_COORDINATES,
        targets=lambda samples: samples.images,
        losses={"sigmoid": F.binary_cross_entropy_with_logits, "mse": F.mse_loss},
        metrics={"iou": lambda logits, samples: iou(logits, samples.images)},
    ),
    "regression": Task(
        inputs={"image": lambda samples: samples.one_hots},
        targets=lambda samples: samples.xy / samples.canvas,
        losses={"mse": F.mse_loss},
        metrics={"euclidean_pixels": _regression_distance},
        lower_is_better=True,
    ),
}
