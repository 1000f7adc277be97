"""Figures of samples, positions and walks, modelled on figure 7 of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rl_coordconv.experiments.generative.finder import Found, find_objects
from rl_coordconv.experiments.generative.metrics import position_entropies
from rl_coordconv.runs.results import BLUE, GREY, VERMILION

_POSITIONS = {"red": VERMILION, "blue": BLUE, "difference": GREY}
_SHOWN_WALKS = 4
_WIDTH = 100  # smallest width in pixels of a model's part of an animation
_CAPTION = 24  # pixels


def make_figures(
    samples: Tensor, data: Tensor, walks: Tensor, pixel_walks: Tensor, *, objects: bool
) -> dict[str, Figure | Tensor]:
    """Draw the figures of a generative model.

    Args:
        samples: Samples of the model in [-1, 1], ``[N, 3, H, W]``.
        data: Real images in [-1, 1], ``[M, 3, H, W]``.
        walks: Frames of walks between latents, ``[W, F, 3, H, W]``.
        pixel_walks: Frames of walks between the same images in pixel space.
        objects: Whether the images show a red and a blue object.

    Returns:
        Figures and the frames of an animation by name; the name is the file's without its suffix.
    """
    samples, data, walks, pixel_walks = (
        images.cpu() for images in (samples, data, walks, pixel_walks)
    )
    figures: dict[str, Figure | Tensor] = {
        "samples": _pair("Data and samples", grid(data[:64]), grid(samples[:64])),
        "mean": _pair("Mean image", *(to_brightness(x.mean(dim=0)) for x in (data, samples))),
        "walks": _strips(walks, pixel_walks),
        "walks_animation": torch.cat([animation(walks), animation(pixel_walks)], dim=3),
    }
    if objects:
        figures["positions"] = _positions(find_objects(data), find_objects(samples))
    return figures


def to_brightness(images: Tensor) -> Tensor:
    """Scale images from [-1, 1] to [0, 1]."""
    return ((images + 1) / 2).clamp(0, 1)


def grid(images: Tensor, columns: int = 8) -> Tensor:
    """Arrange images in [-1, 1], ``[N, 3, H, W]``, in one image in [0, 1] with grey lines."""
    tiles = F.pad(to_brightness(images), (1, 1, 1, 1), value=0.5)
    missing = -len(tiles) % columns
    tiles = torch.cat([tiles, tiles.new_full((missing, *tiles.shape[1:]), 0.5)])
    rows = tiles.unflatten(0, (-1, columns))  # [rows, columns, 3, H, W]
    image: Tensor = rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)
    return image


def animation(walks: Tensor) -> Tensor:
    """Return the frames of some walks, there and back, as ``[T, 3, H, W]`` in [0, 1]."""
    frames = walks[:_SHOWN_WALKS].transpose(0, 1)  # [F, W, 3, H, W]
    once = torch.stack([grid(frame, columns=1) for frame in frames])
    larger = once.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return torch.cat([larger, larger.flip(0)[1:-1]])


def side_by_side(walks: Mapping[str, Tensor]) -> Tensor:
    """Return the frames of an animation of several models, each with its name above.

    Args:
        walks: Frames in [-1, 1], ``[W, F, 3, H, W]``, by model.

    Returns:
        Frames in [0, 1], ``[T, 3, H, W]``.
    """
    return torch.cat([_captioned(animation(x.cpu()), name) for name, x in walks.items()], dim=3)


def _captioned(frames: Tensor, caption: str) -> Tensor:
    """Enlarge frames ``[T, 3, H, W]`` and write a caption above them."""
    times = -(-_WIDTH // frames.shape[3])
    frames = frames.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    length, _, _, width = frames.shape
    strip = Image.new("RGB", (width, _CAPTION), "white")
    font = ImageFont.load_default(_CAPTION * 2 / 3)
    position = width / 2, _CAPTION / 2
    ImageDraw.Draw(strip).text(position, caption, "black", font, anchor="mm")
    above = torch.from_numpy(np.array(strip)).permute(2, 0, 1) / 255
    return torch.cat([above.expand(length, -1, -1, -1), frames], dim=2)


def _pair(title: str, data: Tensor, samples: Tensor) -> Figure:
    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, 2)
    for axes, name, image in zip(panels, ("data", "model"), (data, samples), strict=True):
        _show(axes, image)
        axes.set_title(name)
    return figure


def _strips(walks: Tensor, pixel_walks: Tensor) -> Figure:
    """Draw every second frame of some walks, each above the same walk in pixel space."""
    pairs = torch.stack([walks[:_SHOWN_WALKS], pixel_walks[:_SHOWN_WALKS]], dim=1)
    frames = pairs.flatten(0, 1)[:, ::2]  # [2 * W, F, 3, H, W]
    figure = Figure(figsize=(9, 8), dpi=100, layout="constrained")
    figure.suptitle("Walks between latents, each above the same walk in pixel space")
    _show(figure.subplots(), grid(frames.flatten(0, 1), columns=frames.shape[1]))
    return figure


def _positions(data: Found, samples: Found) -> Figure:
    """Draw the centres of objects and their difference, with the entropies of the paper."""
    figure = Figure(figsize=(9, 6.6), dpi=100, layout="constrained")
    figure.suptitle("Centres of objects, and their entropy")
    for panels, name, found in zip(
        figure.subplots(2, 3), ("data", "model"), (data, samples), strict=True
    ):
        entropies = position_entropies(found)
        red, blue = found.centres.unbind(dim=1)
        points = {"red": red, "blue": blue, "difference": blue - red}
        for axes, (kind, colour) in zip(panels, _POSITIONS.items(), strict=True):
            axes.scatter(*points[kind].T, s=3, color=colour)
            low = -found.canvas if kind == "difference" else 0
            axes.set_xlim(low, found.canvas)
            axes.set_ylim(found.canvas, low)
            axes.set_aspect("equal")
            label = "blue - red" if kind == "difference" else kind
            axes.set_title(f"{name}, {label}: {entropies[kind]:.2f}")
    return figure


def _show(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_off()
