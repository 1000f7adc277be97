"""Image networks for reinforcement learning in which the coordinates are an argument.

    network = build_network("coordconv", input_shape=(4, 84, 84))

The paper does not say where in A2C the coordinates go (Liu et al. 2018, section 5; the question was
never answered), so the placement is a choice here, and the choices have names: `NETWORKS`. These
are plain torch modules; `rl_coordconv.extractors` offers them to Stable-Baselines3.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, TypedDict, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Unpack

from rl_coordconv.coordconv import CoordConv2d

MakeConv = Callable[..., nn.Conv2d]
Placement = Literal["none", "first", "all"]
Control = Literal["zeros", "noise"]
Precision = Literal["float32", "bf16"]
Entry = TypeVar("Entry")


class NetworkSettings(TypedDict, total=False):
    """The keyword arguments of an `ImageNetwork`."""

    coordinates: Placement
    with_r: bool
    control: Control | None
    precision: Precision


class _ZeroChannels(CoordConv2d):
    """A control: as many weights as `CoordConv2d`, but the extra channels hold zeros."""

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        return torch.zeros(self.n_coords, *size, device=device, dtype=dtype)


class _NoiseChannels(CoordConv2d):
    """A control: the extra channels hold fixed uniform noise in the coordinates' range, [-1, 1].

    Every pixel has a distinct code, but neighbouring codes are unrelated.
    """

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        generator = torch.Generator().manual_seed(0)  # the same noise in every run and process
        noise = torch.rand(self.n_coords, *size, generator=generator) * 2 - 1
        return noise.to(device=device, dtype=dtype)


class ImageNetwork(nn.Module, ABC):
    """Convolutions (``cnn``), then a linear layer (``linear``).

    Args:
        input_shape: ``(C, H, W)``.
        features_dim: Length of the output; by default the paper's.
        coordinates: Which convolutions see the coordinates.
        with_r: Whether these see the distance from the centre too.
        control: What the extra channels hold in place of coordinates.
        precision: ``bf16`` computes under autocast; weights, input and output stay float32.

    Raises:
        ValueError: The images are too small.
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
    ) -> None:
        super().__init__()
        layer = {None: CoordConv2d, "zeros": _ZeroChannels, "noise": _NoiseChannels}[control]
        coord_conv: MakeConv = partial(layer, with_r=with_r)
        first, others = {
            "none": (nn.Conv2d, nn.Conv2d),
            "first": (coord_conv, nn.Conv2d),
            "all": (coord_conv, coord_conv),
        }[coordinates]
        self.cnn = self._make_cnn(input_shape[0], first, others)
        n_features = self.paper_features_dim if features_dim is None else features_dim
        self.linear = nn.Sequential(nn.Linear(self._n_flat(input_shape), n_features), nn.ReLU())
        self.precision = precision

    @abstractmethod
    def _make_cnn(self, in_channels: int, first: MakeConv, others: MakeConv) -> nn.Sequential:
        """Return the convolutions, made by ``first`` and ``others``, and the flattening."""

    def _n_flat(self, input_shape: Sequence[int]) -> int:
        """Return the length of the flattened output of ``cnn``."""
        try:
            with torch.no_grad():
                # Torch says Any of what a module returns; here and below.
                return self.cnn(torch.zeros(1, *input_shape)).shape[1]  # type: ignore[no-any-return]
        except RuntimeError as error:
            _, height, width = input_shape
            raise ValueError(
                f"Images of {height}x{width} pixels are too small for {type(self).__name__};"
                " scale them up, or take an impala extractor, which has no smallest size."
            ) from error

    def forward(self, images: Tensor) -> Tensor:
        """Float images ``[B, C, H, W]`` -> features ``[B, features_dim]``, float32."""
        return image_features(images, self.cnn, self.linear, self.precision)


def image_features(
    images: Tensor, cnn: nn.Sequential, linear: nn.Sequential, precision: Precision
) -> Tensor:
    """Compute the features ``[B, features_dim]``, float32, of images ``[B, C, H, W]``."""
    device = images.device.type
    if device == "cpu":
        # The gradient of the first layer takes a third of the time.
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
        features: Tensor = linear(cnn(images))
    return features.float()


class NatureNetwork(ImageNetwork):
    """The network of Mnih et al. 2015: three convolutions; images have at least 36x36 pixels."""

    paper_features_dim = 512

    def _make_cnn(self, in_channels: int, first: MakeConv, others: MakeConv) -> nn.Sequential:
        return nn.Sequential(
            first(in_channels, 32, kernel_size=8, stride=4),
            nn.ReLU(),
            others(32, 64, kernel_size=4, stride=2),
            nn.ReLU(),
            others(64, 64, kernel_size=3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )


class ImpalaNetwork(ImageNetwork):
    """The residual network of Espeholt et al. 2018 (IMPALA, figure 3, right).

    Fifteen convolutions in three stages of 16, 32 and 32 channels, without the recurrent layer.
    """

    paper_features_dim = 256

    def _make_cnn(self, in_channels: int, first: MakeConv, others: MakeConv) -> nn.Sequential:
        return nn.Sequential(
            *_impala_stage(first, in_channels, 16, others),
            *_impala_stage(others, 16, 32, others),
            *_impala_stage(others, 32, 32, others),
            nn.ReLU(),
            nn.Flatten(),
        )


def _impala_stage(
    entry: MakeConv, in_channels: int, channels: int, others: MakeConv
) -> list[nn.Module]:
    """Return a convolution, a max-pooling that halves the image, and two residual blocks."""
    return [
        entry(in_channels, channels, kernel_size=3, padding=1),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        _ResidualBlock(channels, others),
        _ResidualBlock(channels, others),
    ]


class _ResidualBlock(nn.Module):
    def __init__(self, channels: int, make_conv: MakeConv) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.ReLU(),
            make_conv(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            make_conv(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        # As above: a module returns Any.
        return x + self.residual(x)  # type: ignore[no-any-return]


NETWORKS: dict[str, tuple[type[ImageNetwork], NetworkSettings]] = {
    "nature": (NatureNetwork, {"coordinates": "none"}),
    "coordconv": (NatureNetwork, {"coordinates": "first"}),
    "coordconv-all": (NatureNetwork, {"coordinates": "all"}),
    "coordconv-r": (NatureNetwork, {"coordinates": "first", "with_r": True}),
    "nature-zeros": (NatureNetwork, {"coordinates": "first", "control": "zeros"}),
    "nature-noise": (NatureNetwork, {"coordinates": "first", "control": "noise"}),
    "impala": (ImpalaNetwork, {"coordinates": "none"}),
    "impala-coordconv": (ImpalaNetwork, {"coordinates": "first"}),
    "impala-coordconv-all": (ImpalaNetwork, {"coordinates": "all"}),
}
"""The networks by extractor name: a class, and its keyword arguments."""


def build_network(
    name: str,
    input_shape: Sequence[int],
    features_dim: int | None = None,
    **settings: Unpack[NetworkSettings],
) -> ImageNetwork:
    """Return the network of an extractor name; a ``state_dict`` of either fits the other.

    Args:
        name: A name in `NETWORKS`.
        input_shape: ``(C, H, W)``.
        features_dim: As for `ImageNetwork`.
        settings: As for `ImageNetwork`; they override those of the name.

    Raises:
        ValueError: There is no such name, or the images are too small.

    >>> build_network("coordconv", (4, 84, 84))(torch.zeros(2, 4, 84, 84)).shape
    torch.Size([2, 512])
    """
    network, by_name = find_by_name(name, NETWORKS)
    return network(input_shape, features_dim, **(by_name | settings))


def find_by_name(name: str, table: Mapping[str, Entry]) -> Entry:
    """Return an extractor's entry in `NETWORKS`, or in another table of extractors.

    Raises:
        ValueError: There is none of this name; the message suggests the nearest.
    """
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, sorted(table), n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are: {', '.join(sorted(table))}."
    raise ValueError(f"There is no extractor {name!r}; {hint}")


def coordconv_layers(module: nn.Module, *, controls: bool) -> dict[str, CoordConv2d]:
    """Return the CoordConv layers of a network by name.

    Args:
        module: The network, or anything that contains one.
        controls: Include the controls' layers, whose extra channels hold no coordinates.
    """
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, CoordConv2d)
        and (controls or not isinstance(layer, _ZeroChannels | _NoiseChannels))
    }
