"""Image networks for reinforcement learning, with coordinates at a choice of layers.

    network = build_network("coordconv", input_shape=(4, 84, 84))

The paper does not say which of A2C's convolutions get coordinates (Liu et al. 2018, section 5), so
the placement is an argument, and the usual placements have names: see `NETWORKS`. These are plain
torch modules; `rl_coordconv.extractors` wraps them for Stable-Baselines3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor, fx, nn
from typing_extensions import Unpack

from rl_coordconv.controls import COORD_LAYERS, NoiseChannels, ZeroChannels
from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.coordinates import above_zero, true_or_false
from rl_coordconv.names import (
    NAMES,
    Control,
    NetworkSettings,
    Placement,
    Precision,
    find_by_name,
)

MakeConv = Callable[..., nn.Module]


_PRECISIONS: dict[str, Precision] = {"float32": "float32", "bf16": "bf16"}


class ImageNetwork(nn.Module, ABC):
    """Base class of networks: convolutions (``cnn``), then a linear layer and ReLU (``linear``).

    Args:
        input_shape: ``(C, H, W)``.
        features_dim: Number of output features; by default that of the network's paper.
        coordinates: Convolutions that get coordinates: ``none``, ``first``, ``all``, or a list of
            indices (from 0) or names, such as ``[1]`` or ``["cnn.2"]``.
        with_r: Also add the distance from the centre, r.
        control: Replace the coordinates by ``zeros`` or by fixed ``noise``.
        precision: ``float32``, or ``bf16`` for bfloat16 autocast; weights, input and output stay
            float32.
        global_pooling: Average each channel over the image before the linear layer, in place of
            flattening. The features then do not tell where anything is, unless the channels do.

    Raises:
        ValueError: The images are too small, or an argument is invalid.
    """

    paper_features_dim: ClassVar[int]

    def __init__(
        self,
        input_shape: Sequence[int],
        features_dim: int | None = None,
        *,
        coordinates: Placement = "first",
        with_r: bool = False,
        control: Control | None = None,
        precision: Precision = "float32",
        global_pooling: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(input_shape, Sequence) or len(input_shape) != 3:
            raise ValueError(f"input_shape must be (channels, height, width), not {input_shape}.")
        if features_dim is None:
            features_dim = self.paper_features_dim
        self.features_dim = above_zero("features_dim", features_dim)
        self.precision = find_by_name(precision, _PRECISIONS, "precision")
        layer = find_by_name(control, COORD_LAYERS, "control")
        coord_conv = partial(layer, with_r=true_or_false("with_r", with_r))
        # Build a copy without weights, for the names: it draws no random numbers.
        outline = self._make_cnn(input_shape[0], nn.Identity)
        names = [f"cnn.{name}" for name, x in outline.named_modules() if isinstance(x, nn.Identity)]
        seeing = _find_convs(coordinates, names)
        makers = iter([coord_conv if name in seeing else nn.Conv2d for name in names])
        self.cnn = self._make_cnn(
            input_shape[0], lambda *args, **settings: next(makers)(*args, **settings)
        )
        if true_or_false("global_pooling", global_pooling):
            self.cnn.insert(len(self.cnn) - 1, nn.AdaptiveAvgPool2d(1))
        linear = nn.Linear(self._n_flat(input_shape), self.features_dim)
        self.linear = nn.Sequential(linear, nn.ReLU())

    @abstractmethod
    def _make_cnn(self, in_channels: int, conv: MakeConv) -> nn.Sequential:
        """Return the convolutions, each created by a call of ``conv``, and a flatten layer."""

    def _n_flat(self, input_shape: Sequence[int]) -> int:
        """Return the length of the flattened output of ``cnn``."""
        try:
            with torch.no_grad():
                return self.cnn(torch.zeros(1, *input_shape)).shape[1]
        except RuntimeError as error:
            _, height, width = input_shape
            raise ValueError(
                f"Images of {height}x{width} pixels are too small for {type(self).__name__};"
                " resize them, move the channels to the front if they are last, or use an impala"
                " extractor, which accepts any size."
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Compute features ``[B, features_dim]`` of float images ``[B, C, H, W]``."""
        return image_features(images, self.cnn, self.linear, self.precision)


def image_features(
    images: Tensor, cnn: nn.Sequential, linear: nn.Sequential, precision: Precision
) -> Tensor:
    """Compute features ``[B, features_dim]`` of float images ``[B, C, H, W]``.

    With ``float32``, the caller's autocast and dtypes apply; with ``bf16``, features are float32.
    """
    if not isinstance(images, fx.Proxy) and images.is_cpu:
        # Channels-last computes the first layer's gradient three times as fast.
        images = images.contiguous(memory_format=torch.channels_last)
    if precision == "float32":
        return linear(cnn(images))
    # Autocast does not support "meta", a device without values.
    device = images.device.type
    autocast = torch.autocast(device, dtype=torch.bfloat16) if device != "meta" else nullcontext()
    with autocast:
        features: Tensor = linear(cnn(images))
    return features.float()


class NatureNetwork(ImageNetwork):
    """The network of Mnih et al. 2015: three convolutions, for images of at least 36x36 pixels."""

    paper_features_dim = 512

    def _make_cnn(self, in_channels: int, conv: MakeConv) -> nn.Sequential:
        return nn.Sequential(
            conv(in_channels, 32, kernel_size=8, stride=4),
            nn.ReLU(),
            conv(32, 64, kernel_size=4, stride=2),
            nn.ReLU(),
            conv(64, 64, kernel_size=3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )


class ImpalaNetwork(ImageNetwork):
    """The residual network of Espeholt et al. 2018 (IMPALA, figure 3, right).

    Fifteen convolutions in three stages of 16, 32 and 32 channels, without the recurrent layer.
    """

    paper_features_dim = 256

    def _make_cnn(self, in_channels: int, conv: MakeConv) -> nn.Sequential:
        return nn.Sequential(
            *_impala_stage(in_channels, 16, conv),
            *_impala_stage(16, 32, conv),
            *_impala_stage(32, 32, conv),
            nn.ReLU(),
            nn.Flatten(),
        )


def _impala_stage(in_channels: int, channels: int, conv: MakeConv) -> list[nn.Module]:
    """Return a convolution, a max-pooling that halves the image, and two residual blocks."""
    return [
        conv(in_channels, channels, kernel_size=3, padding=1),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        _ResidualBlock(channels, conv),
        _ResidualBlock(channels, conv),
    ]


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, conv: MakeConv) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            conv(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            conv(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


_NETWORKS: dict[str, type[ImageNetwork]] = {"nature": NatureNetwork, "impala": ImpalaNetwork}

NETWORKS: dict[str, tuple[type[ImageNetwork], NetworkSettings]] = {
    name: (_NETWORKS[network], settings) for name, (network, settings) in NAMES.items()
}
"""Networks by extractor name: the class and its keyword arguments."""


def build_network(
    name: str,
    input_shape: Sequence[int],
    features_dim: int | None = None,
    **settings: Unpack[NetworkSettings],
) -> ImageNetwork:
    """Build the network of an extractor, by the extractor's name.

    The network and the extractor can load each other's ``state_dict``.

    Args:
        name: A name in `NETWORKS`.
        input_shape: ``(C, H, W)``.
        features_dim: As for `ImageNetwork`.
        settings: As for `ImageNetwork`; they override those in `NETWORKS`.

    Raises:
        ValueError: The name is unknown, an argument is invalid, or the images are too small.

    Examples:
        >>> build_network("coordconv", (4, 84, 84))(torch.zeros(2, 4, 84, 84)).shape
        torch.Size([2, 512])
    """
    network, by_name = find_by_name(name, NETWORKS)
    return network(input_shape, features_dim, **(by_name | settings))


def _find_convs(coordinates: Placement, names: list[str]) -> list[str]:
    """Return the names of the convolutions that get coordinates; see `ImageNetwork`."""
    if isinstance(coordinates, str):
        placements = {"none": [], "first": names[:1], "all": names}
        return find_by_name(coordinates, placements, "placement")
    if not isinstance(coordinates, Sequence):
        raise ValueError(
            "coordinates must be none, first, all or a list of convolution numbers or names, not"
            f" {coordinates!r}."
        )
    numbered = dict(enumerate(names)) | {n - len(names): name for n, name in enumerate(names)}
    found = []
    for conv in coordinates:
        if isinstance(conv, str):
            found.append(find_by_name(conv, {name: name for name in names}, "convolution"))
        elif isinstance(conv, Integral) and not isinstance(conv, bool) and conv in numbered:
            found.append(numbered[int(conv)])
        else:
            last = len(names) - 1
            raise ValueError(f"There is no convolution {conv!r}; they are numbered 0 to {last}.")
    return found


def coordconv_layers(module: nn.Module, *, controls: bool) -> dict[str, CoordConv2d]:
    """Return the CoordConv layers of a network by name.

    Args:
        module: A network, or any module that contains one, such as a policy.
        controls: Include layers with zeros or noise in place of the coordinates.
    """
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, CoordConv2d)
        and (controls or not isinstance(layer, ZeroChannels | NoiseChannels))
    }
