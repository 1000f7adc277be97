"""Figures of a classifier: its mistakes, accuracy by shift, and the layer in front."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from rl_coordconv.experiments.image_classification.transforms import MEAN, STD
from rl_coordconv.runs.results import BLUE, GREEN, GREY, SKY_BLUE, VERMILION

COLOURS = {
    "plain": BLUE,
    "conv": GREY,
    "coordconv": VERMILION,
    "coordconv-zeros": SKY_BLUE,
    "coordconv-noise": GREEN,
}
"""Colours of the models."""

_ROWS, _COLUMNS = 4, 4
_LONGEST = 14  # maximum length of a class's name in a title


class Mistakes:
    """A random sample of the misclassified validation images.

    Args:
        classes: The names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self.clear()

    def clear(self) -> None:
        """Remove all images."""
        self._found: list[tuple[Tensor, str]] = []
        self._number = 0  # of mistakes, of which a few are kept
        self._rng = random.Random(0)

    def add(self, images: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add the wrong ones among normalised images, by reservoir sampling."""
        guesses = logits.argmax(dim=1)
        for k in (guesses != labels).nonzero()[:, 0].tolist():
            self._number += 1
            place = self._number - 1
            if place >= _ROWS * _COLUMNS:
                place = self._rng.randrange(self._number)
            if place < _ROWS * _COLUMNS:
                guess, label = (self._classes[int(x)][:_LONGEST] for x in (guesses[k], labels[k]))
                found = to_colours(images[k].cpu()), f"{guess}, not {label}"
                self._found[place : place + 1] = [found]

    def image(self) -> Tensor:
        """Return the images in a grid, in [0, 1], ``[3, H, W]``; one black pixel if none is wrong.

        It has no titles, as drawing them with matplotlib would take longer than an evaluation of
        small data.
        """
        if not self._found:
            return torch.zeros(3, 1, 1)
        return make_grid(torch.stack([image for image, _ in self._found]), nrow=_COLUMNS)

    def figure(self) -> Figure:
        """Draw the images, with the chosen class and the right one."""
        figure = Figure(figsize=(8, 8.4), dpi=75, layout="constrained")
        figure.suptitle("Wrong validation images" if self._found else "No image is wrong")
        panels = figure.subplots(_ROWS, _COLUMNS).flat
        for axes, found in zip_longest(panels, self._found):
            axes.set_axis_off()
            if found:
                image, title = found
                axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
                axes.set_title(title, fontsize="medium")
        return figure


def to_colours(image: Tensor) -> Tensor:
    """Return a normalised image ``[3, H, W]`` in [0, 1]."""
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))
    return (image * std + mean).clamp(0, 1)


def draw_shifts(model: str, scores: Mapping[int, float]) -> Figure:
    """Draw the accuracy of a run by the shift of validation images, in pixels."""
    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.subplots()
    plot_shifts(axes, model, [scores])
    axes.set_ylabel("top-1 accuracy, mean over four directions")
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_formatter("{x:.0%}")
    figure.legend(loc="outside lower center", fontsize="small")
    return figure


def plot_shifts(axes: Axes, model: str, runs: Sequence[Mapping[int, float]]) -> None:
    """Plot the accuracies of a model's runs by shift, with a line per run."""
    axes.set_xlabel("shift of validation images, pixels")
    for number, run in enumerate(runs):
        axes.plot(
            list(run),
            list(run.values()),
            color=COLOURS[model],
            linewidth=1,
            marker="o",
            markersize=3,
            alpha=0.7,
            label=model if number == 0 else None,
        )


def draw_front(weights: Tensor) -> Figure:
    """Draw the weights of coordinates in the layer in front, ``[outputs, coordinates]``."""
    figure = Figure(figsize=(4, 5), dpi=100, layout="constrained")
    axes = figure.subplots()
    largest = max(weights.abs().max().item(), 1e-9)
    drawn = axes.imshow(weights.numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest, aspect="auto")
    axes.set_xticks(range(weights.shape[1]), ["i (rows)", "j (columns)", "r"][: weights.shape[1]])
    axes.set_ylabel("output channel")
    figure.suptitle("Layer in front: weights of coordinates", fontsize="medium")
    figure.colorbar(drawn, ax=axes, label="weight")
    return figure
