"""The measures in tables, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping

from rl_coordconv.experiments.image_classification.config import ClassificationConfig
from rl_coordconv.experiments.image_classification.paper import TOP5_GAIN
from rl_coordconv.runs.closing import Measure

FOUR_CLASSES = ("quadrants", "bars")
"""Data whose top-5 accuracy is always 100%."""

SHIFTED = "shifted/top1_"
"""Start of the columns of shifted images; the shift in pixels follows."""


def measures(config: ClassificationConfig) -> list[Measure]:
    """Return the measures of a run, in the order of tables."""
    gain = f"{TOP5_GAIN} above plain, on ImageNet" if config.model == "coordconv" else "-"
    top5 = Measure("top-5 accuracy", "val/top5", "{:.1%}", gain)
    return [
        Measure("top-1 accuracy", "val/top1", "{:.1%}"),
        *([] if config.data in FOUR_CLASSES else [top5]),
        Measure("loss", "val/loss", "{:.4f}"),
        Measure("top-1 accuracy in training", "train/top1", "{:.1%}"),
        *(
            Measure(f"top-1 accuracy, shifted by {pixels}", f"{SHIFTED}{pixels}", "{:.1%}")
            for pixels in config.shifts
        ),
    ]


def accuracy_by_shift(metrics: Mapping[str, float]) -> dict[int, float]:
    """Return the accuracy of the last evaluation by the shift of images, in pixels."""
    shifted = {
        int(name.removeprefix(SHIFTED)): value
        for name, value in metrics.items()
        if name.startswith(SHIFTED)
    }
    return {0: metrics["val/top1"], **dict(sorted(shifted.items()))}
