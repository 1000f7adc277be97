"""What each toy task feeds, asks and measures."""

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
Measure = Callable[[Tensor, Samples], float]


@dataclass(frozen=True)
class Task:
    """One of the three.

    Args:
        inputs: By name, what the network sees: samples -> ``[N, ...]``; the paper's first.
        targets: What the loss compares the network's output with: samples -> ``[N, ...]``.
        losses: By name, from outputs and targets to the mean over a batch; the paper's first.
        measures: By name, from outputs and samples to a value; the most telling first.
    """

    inputs: dict[str, Callable[[Samples], Tensor]]
    targets: Callable[[Samples], Tensor]
    losses: dict[str, Loss]
    measures: dict[str, Measure]


def _regression_distance(shares: Tensor, samples: Samples) -> float:
    return pixel_distance(shares * samples.canvas, samples.xy)


def _softmax_cross_entropy(logits: Tensor, pixels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(1), pixels)


_PLACES: dict[str, Callable[[Samples], Tensor]] = {
    "raw": lambda samples: samples.xy.float(),
    "normalised": lambda samples: normalise(samples.xy, samples.canvas),
}

TASKS = {
    "classification": Task(
        inputs=_PLACES,
        targets=lambda samples: samples.pixels,
        losses={"softmax": _softmax_cross_entropy},
        measures={
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
        inputs=_PLACES,
        targets=lambda samples: samples.images,
        losses={"sigmoid": F.binary_cross_entropy_with_logits, "mse": F.mse_loss},
        measures={"iou": lambda logits, samples: iou(logits, samples.images)},
    ),
    "regression": Task(
        inputs={"image": lambda samples: samples.one_hots},
        targets=lambda samples: samples.xy / samples.canvas,
        losses={"mse": F.mse_loss},
        measures={"euclidean_pixels": _regression_distance},
    ),
}
