"""Figures of predictions, modelled on figures 3, 5 and 6 of the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from rl_coordconv.experiments.not_so_clevr.data import PARTS, Samples
from rl_coordconv.runs.results import BLUE, VERMILION

_COLOURS = (BLUE, VERMILION)  # of training and test samples
_AROUND = 6  # pixels shown on each side


def make_figures(
    task: str, parts: Sequence[Samples], outputs: Sequence[Tensor]
) -> dict[str, Figure]:
    """Draw the figures of a task.

    Args:
        task: The task's name.
        parts: The training and the test samples.
        outputs: The network's output for each part.

    Returns:
        Figures by name; the name is the file's without its suffix.
    """
    parts = [part.to("cpu") for part in parts]
    outputs = [output.cpu() for output in outputs]
    return {"split": _split(parts)} | _FIGURES[task](parts, outputs)


def _split(parts: Sequence[Samples]) -> Figure:
    """Draw the centres of the training and test squares."""
    figure, (axes,) = _panels(1, "Centres of the squares")
    for name, colour, part in zip(PARTS, _COLOURS, parts, strict=True):
        _dots(axes, part.xy, colour, f"{name}: {len(part):,}")
    _canvas(axes, parts[0].canvas)
    _legend(figure)
    return figure


def _classification(parts: Sequence[Samples], outputs: Sequence[Tensor]) -> dict[str, Figure]:
    probabilities = [output.flatten(1).softmax(dim=1).view_as(output) for output in outputs]
    return {
        "summed_predictions": _sums(parts, [part.one_hots for part in parts], probabilities),
        "around_one_pixel": _around(parts[1], outputs[1], probabilities[1]),
    }


def _rendering(parts: Sequence[Samples], outputs: Sequence[Tensor]) -> dict[str, Figure]:
    images = [output.sigmoid() for output in outputs]
    return {
        "summed_predictions": _sums(parts, [part.images for part in parts], images),
        "squares": _squares(parts[1], images[1]),
    }


def _regression(parts: Sequence[Samples], outputs: Sequence[Tensor]) -> dict[str, Figure]:
    figure, panels = _panels(2, "Positions of the squares")
    for axes, name, colour, part, shares in zip(
        panels, PARTS, _COLOURS, parts, outputs, strict=True
    ):
        _dots(axes, part.xy, "0.8", "true" if name == PARTS[0] else None)
        _dots(axes, shares * part.canvas, colour, f"predicted ({name})")
        _canvas(axes, part.canvas)
        axes.set_title(name)
    _legend(figure)
    return {"predicted_places": figure}


_FIGURES: dict[str, Callable[[Sequence[Samples], Sequence[Tensor]], dict[str, Figure]]] = {
    "classification": _classification,
    "rendering": _rendering,
    "regression": _regression,
}


def _sums(parts: Sequence[Samples], true: Sequence[Tensor], predicted: Sequence[Tensor]) -> Figure:
    """Draw true and predicted images, summed over the samples."""
    figure, panels = _panels(4, "Summed over all samples")
    for i, (name, *images) in enumerate(zip(PARTS, true, predicted, strict=True)):
        sums = [image.sum(dim=(0, 1)) for image in images]
        pair = panels[2 * i : 2 * i + 2]
        for axes, kind, image in zip(pair, ("true", "predicted"), sums, strict=True):
            shown = _grey(axes, image, sums[0].max().item())
            axes.set_title(f"{name}, {kind}")
        figure.colorbar(shown, ax=pair, shrink=0.6, extend="max", label="sum over samples")
    return figure


def _around(samples: Samples, logits: Tensor, probabilities: Tensor) -> Figure:
    """Draw probabilities and logits around the most confident right and wrong prediction."""
    flat = probabilities.flatten(1)
    sureness, predicted = flat.max(dim=1)
    right = predicted == samples.pixels
    chosen = [
        (name, int((sureness * mask).argmax()))
        for name, mask in (("right", right), ("wrong", ~right))
        if mask.any()
    ]
    figure, panels = _panels(2 * len(chosen), "Around one test pixel")
    for i, (title, index) in enumerate(chosen):
        x, y = samples.xy[index].tolist()
        left, top = max(x - _AROUND, 0), max(y - _AROUND, 0)
        for axes, kind, image in zip(
            panels[2 * i : 2 * i + 2],
            ("probability", "logit"),
            (probabilities, logits),
            strict=True,
        ):
            cut = image[index, 0, top : y + _AROUND + 1, left : x + _AROUND + 1]
            height, width = cut.shape
            corners = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
            shown = axes.imshow(
                cut.numpy(), cmap="viridis" if kind == "logit" else "gray", extent=corners
            )
            figure.colorbar(shown, ax=axes, shrink=0.6, label=kind)
            cross = axes.plot(x, y, "+", color=_COLOURS[1], label="true position")
            axes.locator_params(integer=True, nbins=4)
            axes.set_title(f"{title} prediction")
    figure.legend(handles=cross, loc="outside lower center")
    return figure


def _squares(samples: Samples, images: Tensor) -> Figure:
    """Draw the best, median and worst rendered test squares, by IOU, and the true ones."""
    predicted, true = (images > 0.5).flatten(1), samples.images.flatten(1) > 0
    ious = (predicted & true).sum(dim=1) / (predicted | true).sum(dim=1)
    order = ious.argsort(descending=True)
    figure, panels = _panels(6, "Rendered test squares (IOU)")
    for i, (title, rank) in enumerate((("best", 0), ("median", len(order) // 2), ("worst", -1))):
        index = order[rank]
        for axes, kind, image in zip(
            panels[2 * i : 2 * i + 2], ("true", "rendered"), (samples.images, images), strict=True
        ):
            shown = _grey(axes, image[index, 0], 1.0)
            axes.set_title(f"{title} ({ious[index]:.2f}), {kind}")
    figure.colorbar(shown, ax=panels, shrink=0.6, label="brightness")
    return figure


def _panels(number: int, title: str) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side."""
    figure = Figure(figsize=(2.6 * number, 3.1), dpi=100, layout="constrained")
    figure.suptitle(title)
    return figure, list(figure.subplots(1, number, squeeze=False)[0])


def _dots(axes: Axes, xy: Tensor, colour: str, label: str | None = None) -> None:
    x, y = xy.T.numpy()
    axes.scatter(x, y, s=2, color=colour, label=label)


def _legend(figure: Figure) -> None:
    figure.legend(
        loc="outside lower center", ncols=3, markerscale=4, columnspacing=1, handletextpad=0.3
    )


def _grey(axes: Axes, image: Tensor, white: float) -> AxesImage:
    _canvas(axes, len(image))
    return axes.imshow(image.numpy(), cmap="gray", vmin=0, vmax=white)


def _canvas(axes: Axes, canvas: int) -> None:
    """Set up the axes of an image: square pixels, rows downwards, no ticks."""
    axes.set_xlim(-0.5, canvas - 0.5)
    axes.set_ylim(canvas - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
