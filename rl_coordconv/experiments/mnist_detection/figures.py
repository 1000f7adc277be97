"""Figures of detections, and of errors by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor
from torchvision.utils import draw_bounding_boxes, make_grid

from rl_coordconv.experiments.mnist_detection.boxes import to_corners
from rl_coordconv.experiments.mnist_detection.detections import Detections, mean_overlaps
from rl_coordconv.experiments.mnist_detection.probe import PROBE_SIZE, PROBE_STEP, ProbeMaps
from rl_coordconv.runs.results import GREEN, ORANGE

_ENLARGED = 4  # times, so that lines are thin beside a digit
_N_DETECTIONS = 5
_PER_ROW = 4


def make_figures(
    images: Tensor, boxes: Tensor, found: Sequence[Detections], maps: ProbeMaps
) -> dict[str, Figure]:
    """Draw the figures of a detector.

    Args:
        images: Test canvases, uint8 ``[N, 1, H, W]``.
        boxes: Their true boxes, ``[N, D, 4]``.
        found: Their detections, best first.
        maps: The errors by place.
    """
    return {"detections": _sheet(images, boxes, found), "places": draw_maps(maps)}


def grid(
    images: Tensor, boxes: Tensor, found: Sequence[Detections], per_row: int = _PER_ROW
) -> Tensor:
    """Draw true boxes in green and the best five detections in orange.

    Args:
        images: Canvases, uint8 ``[N, 1, H, W]``.
        boxes: Their true boxes, ``[N, D, 4]``.
        found: Their detections, best first.
        per_row: Canvases per row.

    Returns:
        One image in [0, 1], ``[3, H', W']``.
    """
    larger = images.repeat_interleave(_ENLARGED, dim=2).repeat_interleave(_ENLARGED, dim=3)
    tiles = []
    for image, true, detections in zip(larger, boxes, found, strict=True):
        # The true boxes are drawn last, over the others.
        layers = {ORANGE: detections.boxes[:_N_DETECTIONS], GREEN: true}
        for colour, shown in layers.items():
            if len(shown):  # else torchvision warns
                corners = _ENLARGED * to_corners(shown)
                image = draw_bounding_boxes(image, corners, colors=colour, width=2)
        tiles.append(image)
    return make_grid(torch.stack(tiles), nrow=per_row, pad_value=128) / 255


def _sheet(images: Tensor, boxes: Tensor, found: Sequence[Detections]) -> Figure:
    """Draw the best, median and worst four canvases by IOU."""
    pairs = zip(found, boxes, strict=True)
    scores = torch.tensor([mean_overlaps([each], true[None])["iou"] for each, true in pairs])
    order = scores.argsort(descending=True, stable=True)
    n_shown = min(_PER_ROW, len(order))
    middle = (len(order) - n_shown) // 2
    rows = {
        "best": order[:n_shown],
        "median": order[middle : middle + n_shown],
        "worst": order[-n_shown:],
    }
    figure = Figure(figsize=(8, 7.2), dpi=100, layout="constrained")
    figure.suptitle("Test canvases by IOU: true boxes green, the best five detections orange")
    for axes, (name, chosen) in zip(figure.subplots(len(rows)), rows.items(), strict=True):
        tiles = grid(images[chosen], boxes[chosen], [found[k] for k in chosen.tolist()])
        axes.imshow(tiles.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_axis_off()
        shown = scores[chosen]
        axes.set_title(f"{name}: IOU {shown.min():.2f} to {shown.max():.2f}", fontsize="medium")
    return figure


def draw_maps(maps: ProbeMaps) -> Figure:
    """Draw the IOU and the error of the centre by place of a single digit."""
    figure = Figure(figsize=(9, 4), dpi=100, layout="constrained")
    figure.suptitle(f"Best detection of a single digit of {PROBE_SIZE} pixels, by its centre")
    values = {
        f"IOU: mean {maps.iou.mean():.2f}": maps.iou,
        f"error of the centre: mean {maps.centre_error.nanmean():.1f} pixels": maps.centre_error,
    }
    panels = figure.subplots(1, len(values))
    for axes, (title, shown) in zip(panels, values.items(), strict=True):
        is_iou = shown is maps.iou
        drawn = _draw_map(axes, shown, maps.centres, largest=1.0 if is_iou else None)
        if not is_iou:
            drawn.set_cmap("viridis_r")  # yellow is good in both
        figure.colorbar(drawn, ax=axes, label="IOU" if is_iou else "pixels")
        axes.set_title(title, fontsize="medium")
    return figure


def draw_overlaps(maps: Mapping[str, ProbeMaps], columns: int) -> Figure:
    """Draw the IOU by place of a single digit of several detectors.

    Args:
        maps: The errors by place, by the detector's name.
        columns: Detectors per row.
    """
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(9, 3.4 * rows), dpi=100, layout="constrained")
    figure.suptitle(f"IOU of the best detection of a single digit of {PROBE_SIZE} pixels")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(maps) :]:
        axes.set_axis_off()
    for axes, (name, own) in zip(panels.flat, maps.items(), strict=False):
        drawn = _draw_map(axes, own.iou, own.centres, largest=1.0)
        axes.set_title(f"{name}\nmean {own.iou.mean():.2f}", fontsize="small")
    figure.colorbar(drawn, ax=panels, label="IOU", shrink=0.6)
    return figure


def draw_detections(
    images: Tensor, boxes: Tensor, found: Mapping[str, Sequence[Detections]]
) -> Figure:
    """Draw the detections of several detectors in the same canvases, a row for each.

    Args:
        images: Canvases, uint8 ``[N, 1, H, W]``.
        boxes: Their true boxes, ``[N, D, 4]``.
        found: Their detections, best first, by the detector's name.
    """
    figure = Figure(figsize=(9, 1.8 * len(found)), dpi=100, layout="constrained")
    figure.suptitle("True boxes green, the best five detections orange")
    panels = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (name, own) in zip(panels, found.items(), strict=True):
        tiles = grid(images, boxes, own, per_row=len(images))
        axes.imshow(tiles.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, loc="left", fontsize="small")
    return figure


def _draw_map(axes: Axes, values: Tensor, centres: Tensor, largest: float | None) -> AxesImage:
    """Draw values by place, ``[P, P]``; the colours end at 0 and the largest value."""
    first, last = centres[0].item() - PROBE_STEP / 2, centres[-1].item() + PROBE_STEP / 2
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    extent = (first, last, last, first)
    return axes.imshow(values.numpy(), vmin=0, vmax=largest, extent=extent)
