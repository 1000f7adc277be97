"""Figures of detections, and of errors by place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
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


def grid(images: Tensor, boxes: Tensor, found: Sequence[Detections]) -> Tensor:
    """Draw true boxes in green and the best five detections in orange, four canvases per row.

    Args:
        images: Canvases, uint8 ``[N, 1, H, W]``.
        boxes: Their true boxes, ``[N, D, 4]``.
        found: Their detections, best first.

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
    # torchvision has no annotations.
    return make_grid(torch.stack(tiles), nrow=_PER_ROW, pad_value=128) / 255  # type: ignore[no-any-return]


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
    first, last = (maps.centres[k].item() for k in (0, -1))
    edges = first - PROBE_STEP / 2, last + PROBE_STEP / 2
    shown = {
        f"IOU: mean {maps.iou.mean():.2f}": (maps.iou, "viridis", 1.0),
        f"error of the centre, pixels: mean {maps.centre_error.nanmean():.1f}": (
            maps.centre_error,
            "viridis_r",
            None,
        ),
    }
    panels = figure.subplots(1, len(shown))
    for axes, (title, (values, colours, largest)) in zip(panels, shown.items(), strict=True):
        extent = (*edges, *reversed(edges))
        drawn = axes.imshow(values.numpy(), cmap=colours, vmin=0, vmax=largest, extent=extent)
        figure.colorbar(drawn, ax=axes)
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("column")
        axes.set_ylabel("row")
    return figure
