"""Measure whether a detector works equally well at every position of the canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rl_coordconv.experiments.mnist_detection.boxes import iou
from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.data import Canvases, draw_canvases
from rl_coordconv.experiments.mnist_detection.detections import Detections
from rl_coordconv.experiments.mnist_detection.digits import read_digits

PROBE_SIZE = 20
"""Height and width of the digit, in pixels: the middle of the training sizes."""

PROBE_STEP = 4
"""Pixels between places: the stride of the region proposals."""

N_PROBE_DIGITS = 4
"""Digits per place, the same ones in all places."""


_FROM_BORDER = 20  # pixels; see `ProbeMaps.metrics`


class ProbeMaps(NamedTuple):
    """Means over digits, by row and column of the place, ``[P, P]``."""

    centres: Tensor
    """Rows, and columns, of the digit's centre in pixels, ``[P]``."""
    iou: Tensor
    """IOU of the best detection with the digit's box; 0 without a detection."""
    centre_error: Tensor
    """Distance between their centres, in pixels; NaN without any detection."""

    def metrics(self) -> dict[str, float]:
        """Return numbers for ``progress.csv``; those that are undefined are left out.

        Returns:
            ``probe/iou`` and ``probe/centre_error``: means over all places. ``probe/iou_std``: the
            standard deviation of the IOU over places at least 20 pixels from the border, which is
            0 for a detector that is equivariant to translation and does not see the border.
        """
        is_middle = torch.minimum(self.centres, self.centres.flip(0)) >= _FROM_BORDER
        values = {"iou": self.iou.mean(), "centre_error": self.centre_error.nanmean()}
        if is_middle.any():
            values["iou_std"] = self.iou[is_middle][:, is_middle].std(correction=0)
        return {f"probe/{name}": x.item() for name, x in values.items() if not x.isnan()}


def probe(
    detect: Callable[[Tensor], list[Detections]], config: DetectionConfig, device: torch.device
) -> ProbeMaps:
    """Detect single test digits on empty canvases, at places in a grid.

    A detector that is equivariant to translation has the same errors in all places that are not
    close to the border.

    Args:
        detect: Returns the detections in images, uint8 ``[N, 1, H, W]``, best first, on the CPU.
        config: The settings of the digits and canvases.
        device: The device of the images.
    """
    canvases = probe_canvases(config)
    found = detect(canvases.images.to(device))
    overlaps, errors = zip(*map(_compare, found, canvases.boxes[:, 0]), strict=True)
    ticks = _ticks(config.canvas)
    shape = len(ticks), len(ticks), N_PROBE_DIGITS
    return ProbeMaps(
        torch.from_numpy(ticks) + PROBE_SIZE / 2,
        torch.tensor(overlaps).reshape(shape).mean(dim=2),
        torch.tensor(errors).reshape(shape).nanmean(dim=2),
    )


def probe_canvases(config: DetectionConfig) -> Canvases:
    """Return canvases with one digit, by row, column and digit; the same at every call."""
    digits = read_digits(config.digits, "test", config.data)
    chosen = np.random.default_rng(0).integers(len(digits.labels), size=N_PROBE_DIGITS)
    ticks = _ticks(config.canvas)
    corners = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.concatenate([corners, np.full_like(corners, PROBE_SIZE)], axis=1)
    return draw_canvases(
        digits,
        np.tile(chosen, len(places))[:, None],
        np.repeat(places, N_PROBE_DIGITS, axis=0)[:, None],
        config.canvas,
    )


def _ticks(canvas: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the first rows, and columns, of the digit."""
    return np.arange(0, canvas - PROBE_SIZE + 1, PROBE_STEP)


def _compare(found: Detections, true: Tensor) -> tuple[float, float]:
    """Return the IOU of the best detection with a true box ``[4]``, and their centres' distance."""
    best = found.boxes[:1]
    if not len(best):
        return 0.0, float("nan")
    return iou(best, true[None]).item(), (best[0, :2] - true[:2]).norm().item()
