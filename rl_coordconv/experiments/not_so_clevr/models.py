"""The networks of the toy tasks, by task and name.

Classification and rendering: coordinates (x, y), floats ``[B, 2]``, to logits ``[B, 1, H, W]``.
Regression: one-hot images ``[B, 1, H, W]`` to (x, y) divided by the canvas's side, ``[B, 2]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.experiments.not_so_clevr.names import check_model
from rl_coordconv.experiments.not_so_clevr.one_hot import OneHotConvs
from rl_coordconv.experiments.not_so_clevr.pixel_mlp import PixelMLP
from rl_coordconv.runs.config import UserError
from rl_coordconv.tf_layers import (
    batch_norm,
    doubling_deconv,
    halving_conv,
    initialise,
    same_conv,
)


@dataclass(frozen=True)
class Shape:
    """The settings that determine a network.

    Args:
        split: ``uniform`` or ``quadrant``; the regression model ``conv`` depends on it.
        canvas: Width and height of the image, in pixels.
        filter_size: Kernel size of deconvolutions and of rendering convolutions.
        channels: Width multiplier.
    """

    split: str = "uniform"
    canvas: int = 64
    filter_size: int = 2
    channels: int = 1


def make_model(task: str, model: str, shape: Shape) -> nn.Module:
    """Build a network with the authors' initialisation, drawn from torch's global generator.

    See `build_model` for the arguments and errors.
    """
    network = build_model(task, model, shape)
    initialise(network)
    return network


def build_model(task: str, model: str, shape: Shape) -> nn.Module:
    """Build a network with torch's default initialisation.

    Args:
        task: A key of `MODELS`.
        model: A key of ``MODELS[task]``.
        shape: The network's settings.

    Raises:
        UserError: The task or model is unknown, or the model does not support this shape.
    """
    check_model(task, model)
    if shape.filter_size < 1 or shape.channels < 1:
        raise UserError("The filter size and the channels must be at least 1.")
    return MODELS[task][model](shape)


class OnePixelImage(nn.Module):
    """Coordinates ``[B, 2]`` as channels of an image of one pixel, ``[B, 2, 1, 1]``."""

    def forward(self, xy: Tensor) -> Tensor:
        """Reshape the coordinates."""
        return xy[:, :, None, None]


class PixelSoftmax(nn.Module):
    """Softmax over all pixels of each image ``[B, 1, H, W]``, which then sum to 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the softmax."""
        return x.flatten(1).softmax(dim=1).view_as(x)


def _deconv(shape: Shape) -> nn.Sequential:
    if shape.filter_size < 2:
        raise UserError("The deconvolution's filter size must be at least 2.")
    return _doubling(shape, lambda before, after: doubling_deconv(before, after, shape.filter_size))


def _upsample(shape: Shape, conv_layer: type[nn.Conv2d]) -> nn.Sequential:
    """Return `_deconv` with nearest-neighbour upsampling and convolutions instead."""

    def stage(before: int, after: int) -> list[nn.Module]:
        upsampling = nn.Upsample(scale_factor=2, mode="nearest")
        return [upsampling, *same_conv(before, after, shape.filter_size, conv_layer)]

    return _doubling(shape, stage)


def _doubling(shape: Shape, stage: Callable[[int, int], list[nn.Module]]) -> nn.Sequential:
    """Return stages that each double the size, from one pixel to the canvas (six for 64 pixels)."""
    n_stages = shape.canvas.bit_length() - 1
    if shape.canvas < 2 or shape.canvas != 2**n_stages:
        raise UserError(
            f"The canvas of this model must be a power of 2, such as 64, not {shape.canvas}."
        )
    # Smaller canvases omit the first stages.
    wide, narrow = 64 * shape.channels, 32 * shape.channels
    widths = [2, *[wide] * (n_stages - 3), *[narrow] * min(n_stages - 1, 2), 1]
    layers: list[nn.Module] = [OnePixelImage()]
    for before, after in itertools.pairwise(widths):
        layers += stage(before, after)
        if after > 1:
            layers += [batch_norm(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _pixel_mlp(shape: Shape) -> PixelMLP:
    c = shape.channels
    return PixelMLP(shape.canvas, (32 * c, 32 * c, 64 * c, 64 * c, 1))


def _sharpen_and_render(shape: Shape) -> list[nn.Module]:
    """Return a softmax over pixels, and convolutions that turn its peak into a square."""
    widths = [1, *(width * shape.channels for width in (8, 8, 16, 16)), 1]
    layers: list[nn.Module] = [PixelSoftmax()]
    for before, after in itertools.pairwise(widths):
        layers += [*same_conv(before, after, shape.filter_size), nn.ReLU(inplace=True)]
    return layers[:-1]


def _rendering_coordconv(shape: Shape) -> nn.Sequential:
    # As in the authors' code, the width multiplier does not apply to the pixel network here.
    return nn.Sequential(_pixel_mlp(Shape(canvas=shape.canvas)), *_sharpen_and_render(shape))


def _deconv_bottleneck(shape: Shape) -> nn.Sequential:
    return nn.Sequential(*_deconv(shape), *_sharpen_and_render(shape))


def _regression_conv(shape: Shape) -> nn.Sequential:
    """Return the authors' convolutional network, which depends on the split."""
    if shape.split == "quadrant":
        return _fully_convolutional(shape)
    if shape.canvas % 8:
        raise UserError(f"The canvas of this model must be a multiple of 8, not {shape.canvas}.")
    c = 16 * shape.channels
    layers: list[nn.Module] = []
    for before in (1, c, c):
        layers += [*same_conv(before, c, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    layers += [*same_conv(c, c, 3), nn.ReLU(inplace=True), nn.Flatten()]
    dense = nn.Linear((shape.canvas // 8) ** 2 * c, 64)
    return nn.Sequential(*layers, dense, nn.ReLU(inplace=True), nn.Linear(64, 2))


def _fully_convolutional(shape: Shape) -> nn.Sequential:
    if shape.canvas % 32:
        raise UserError(f"The canvas of this model must be a multiple of 32, not {shape.canvas}.")
    c = 16 * shape.channels
    relu = nn.ReLU(inplace=True)
    layers: list[nn.Module] = [*halving_conv(1, c, 5), relu, *same_conv(c, c, 1), relu]
    layers += [batch_norm(c), *same_conv(c, c, 3), relu, *halving_conv(c, c, 3), relu]
    layers += [*halving_conv(c, c, 3), batch_norm(c), relu, *halving_conv(c, c, 3), relu]
    layers += [*same_conv(c, c, 1), relu, *halving_conv(c, c, 3), relu, *same_conv(c, 2, 3), relu]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _regression_coordconv(
    shape: Shape, activation: Callable[[], nn.Module] = nn.Identity, pool: nn.Module | None = None
) -> nn.Sequential:
    """Return the network of the authors' code: linear layers, then the maximum over all pixels.

    The paper does not mention the maximum.
    """
    layers: list[nn.Module] = [CoordConv2d(1, 8, 1), activation()]
    for kernel_size in (1, 1, 3):
        layers += [*same_conv(8, 8, kernel_size), activation()]
    convs = OneHotConvs(*layers, *same_conv(8, 2, 3))
    return nn.Sequential(convs, pool or nn.AdaptiveMaxPool2d(1), nn.Flatten())


_Models = dict[str, Callable[[Shape], nn.Module]]

MODELS: dict[str, _Models] = {
    "classification": {"deconv": _deconv, "coordconv": _pixel_mlp},
    "rendering": {
        "deconv": _deconv,
        "coordconv": _rendering_coordconv,
        "deconv-bottleneck": _deconv_bottleneck,
        "upsample-conv": lambda shape: _upsample(shape, nn.Conv2d),
        "upsample-coordconv": lambda shape: _upsample(shape, CoordConv2d),
    },
    "regression": {
        "conv": _regression_conv,
        "coordconv": _regression_coordconv,
        # A literal reading of the paper, with ReLU and average pooling; it does not learn the task.
        "coordconv-relu-avg": lambda shape: _regression_coordconv(
            shape, nn.ReLU, nn.AdaptiveAvgPool2d(1)
        ),
    },
}
