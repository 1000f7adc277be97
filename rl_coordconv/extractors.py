"""Feature extractors for Stable-Baselines3 in which the coordinates are an argument.

    from rl_coordconv import policy_kwargs

    model = A2C("CnnPolicy", env, policy_kwargs=policy_kwargs("coordconv"))

The paper does not say where in A2C the coordinates go (Liu et al. 2018, section 5; the question was
never answered), so the placement is a name here: `EXTRACTORS`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    NatureCNN,
)
from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.runs.config import nearest

MakeConv = Callable[..., nn.Conv2d]
Placement = Literal["none", "first", "all"]
Control = Literal["zeros", "noise"]
Precision = Literal["float32", "bf16"]


class _ZeroChannels(CoordConv2d):
    """The control whose extra channels say nothing: as many weights, no coordinates."""

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        return torch.zeros(self.n_coords, *size, device=device, dtype=dtype)


class _NoiseChannels(CoordConv2d):
    """The control whose extra channels are fixed noise over [-1, 1], the coordinates' range.

    Each pixel can be told from each other by it, but near ones are not alike.
    """

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        generator = torch.Generator().manual_seed(0)  # the same noise in every run and process
        noise = torch.rand(self.n_coords, *size, generator=generator) * 2 - 1
        return noise.to(device=device, dtype=dtype)


class CoordExtractor(NatureCNN, ABC):
    """What the image networks share: checks, placement of coordinates, precision, output layer.

    It derives from `NatureCNN` because Stable-Baselines3 passes ``normalized_image`` on for
    ``normalize_images=False`` to that class only. ``forward`` and the names of the weights are its.

    Args:
        observation_space: Images, channels first: uint8 from 0 to 255 unless ``normalized_image``.
        features_dim: Length of the output.
        normalized_image: Take a space of any type and range: the images are scaled already.
        coordinates: Which convolutions see them.
        with_r: Whether these see the distance from the centre too.
        control: What the extra channels hold in place of coordinates.
        precision: ``bf16`` computes under autocast; weights, input and output stay float32.

    Raises:
        ValueError: The observation space cannot be used; the message says what to do.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int,
        normalized_image: bool = False,
        *,
        coordinates: Placement = "first",
        with_r: bool = False,
        control: Control | None = None,
        precision: Precision = "float32",
    ) -> None:
        _check_space(observation_space, normalized_image)
        # Not NatureCNN's constructor, which would build its own network.
        BaseFeaturesExtractor.__init__(self, observation_space, features_dim)
        layer = {None: CoordConv2d, "zeros": _ZeroChannels, "noise": _NoiseChannels}[control]
        seeing = partial(layer, with_r=with_r)
        first: MakeConv = nn.Conv2d if coordinates == "none" else seeing
        others: MakeConv = seeing if coordinates == "all" else nn.Conv2d
        self.cnn = self._make_cnn(observation_space.shape[0], first, others)
        self.linear = nn.Sequential(nn.Linear(self._n_flat(), features_dim), nn.ReLU())
        self.precision = precision

    @abstractmethod
    def _make_cnn(self, in_channels: int, first: MakeConv, others: MakeConv) -> nn.Sequential:
        """The network up to and with the flattening."""

    def _n_flat(self) -> int:
        shape = self._observation_space.shape
        assert shape is not None
        try:
            with torch.no_grad():
                # Torch says Any of what a module returns; here and below.
                return self.cnn(torch.zeros(1, *shape)).shape[1]  # type: ignore[no-any-return]
        except RuntimeError as error:
            raise ValueError(
                f"Images of {shape[1]}x{shape[2]} pixels are too small for {type(self).__name__};"
                " scale them up, or take an impala extractor, which has no smallest size."
            ) from error

    def forward(self, observations: Tensor) -> Tensor:
        """Float images [B, C, H, W] -> features [B, features_dim], float32."""
        device = observations.device.type
        if device == "cpu":
            # The gradient of the first layer takes a third of the time.
            observations = observations.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            features: Tensor = self.linear(self.cnn(observations))
        return features.float()


class CoordNatureCNN(CoordExtractor):
    """The network of Mnih et al. 2015, as Stable-Baselines3's `NatureCNN`, with coordinates.

    With ``coordinates="none"`` its parameters and their initialisation are exactly those of
    `NatureCNN`, and so is its output but for rounding. The arguments are those of the base class;
    images have at least 36x36 pixels.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int = 512,
        normalized_image: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim, normalized_image, **options)

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


class CoordImpalaCNN(CoordExtractor):
    """The residual network of Espeholt et al. 2018 (IMPALA, figure 3, right), with coordinates.

    Fifteen convolutions in three stages of 16, 32 and 32 channels, without the recurrent layer; the
    arguments are those of the base class.
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int = 256,  # Espeholt et al. 2018, figure 3
        normalized_image: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim, normalized_image, **options)

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
    """Convolution, halving, two residual blocks."""
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


class CoordCombinedExtractor(CombinedExtractor):
    """Stable-Baselines3's `CombinedExtractor` for Dict observations, with coordinates.

    Every image of the dict goes through a network of its own, everything else is flattened. Its
    default heads are those of `CombinedExtractor`, [64, 64], as for any class but `NatureCNN`.

    Args:
        observation_space: A Dict, not nested.
        cnn_output_dim: Features per image.
        normalized_image: As for `CoordNatureCNN`, for all images.
        extractor: The image network, a name in `EXTRACTORS`; ``nature`` is `CombinedExtractor`.
        options: Further arguments of that network.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        cnn_output_dim: int = 256,
        normalized_image: bool = False,
        extractor: str = "coordconv",
        **options: Any,
    ) -> None:
        network, settings = find_extractor(extractor)
        # Not CombinedExtractor's constructor, which would build its own networks.
        BaseFeaturesExtractor.__init__(self, observation_space, features_dim=1)
        self.extractors = nn.ModuleDict()
        self._features_dim = 0
        for key, space in observation_space.spaces.items():
            if is_image_space(space, normalized_image=normalized_image):
                assert isinstance(space, spaces.Box)
                self.extractors[key] = network(
                    space, cnn_output_dim, normalized_image, **{**settings, **options}
                )
                self._features_dim += cnn_output_dim
            else:
                self.extractors[key] = nn.Flatten()
                self._features_dim += get_flattened_obs_dim(space)


EXTRACTORS: dict[str, tuple[type[CoordExtractor], dict[str, Any]]] = {
    "nature": (CoordNatureCNN, {"coordinates": "none"}),
    "coordconv": (CoordNatureCNN, {"coordinates": "first"}),
    "coordconv-all": (CoordNatureCNN, {"coordinates": "all"}),
    "coordconv-r": (CoordNatureCNN, {"coordinates": "first", "with_r": True}),
    "nature-zeros": (CoordNatureCNN, {"coordinates": "first", "control": "zeros"}),
    "nature-noise": (CoordNatureCNN, {"coordinates": "first", "control": "noise"}),
    "impala": (CoordImpalaCNN, {"coordinates": "none"}),
    "impala-coordconv": (CoordImpalaCNN, {"coordinates": "first"}),
    "impala-coordconv-all": (CoordImpalaCNN, {"coordinates": "all"}),
}
"""The networks by name: a class, and its ``features_extractor_kwargs``."""


def policy_kwargs(extractor: str, **own: Any) -> dict[str, Any]:
    """The ``policy_kwargs`` that put an extractor into a Stable-Baselines3 algorithm.

    Stable-Baselines3 adds two tanh layers of 64 units behind any extractor class but its own
    `NatureCNN`. ``net_arch=[]`` gives every extractor the heads that `NatureCNN` gets, so that arms
    differ in the extractor alone.

    Args:
        extractor: A name in `EXTRACTORS`.
        own: Further entries (``optimizer_class=...``), which win over the ones made here;
            ``features_extractor_kwargs`` are merged.

    Returns:
        A dict of its own for each call: algorithms change theirs.

    Raises:
        ValueError: There is no such extractor, or ``own`` names another class.
    """
    network, settings = find_extractor(extractor)
    if own.get("features_extractor_class", network) is not network:
        raise ValueError("Name the extractor, or give a features_extractor_class, but not both.")
    own = copy.deepcopy(own)
    own["features_extractor_kwargs"] = {**settings, **own.get("features_extractor_kwargs", {})}
    return {"features_extractor_class": network, "net_arch": [], **own}


def find_extractor(extractor: str) -> tuple[type[CoordExtractor], dict[str, Any]]:
    """An entry of `EXTRACTORS`.

    Raises:
        ValueError: There is none of that name.
    """
    if extractor not in EXTRACTORS:
        raise ValueError(f"There is no extractor {extractor!r}; {nearest(extractor, EXTRACTORS)}")
    return EXTRACTORS[extractor]


def _check_space(space: spaces.Space[Any], normalized_image: bool) -> None:
    """Raise ValueError with what to do unless the space holds channels-first images."""
    if isinstance(space, spaces.Dict):
        raise ValueError("For Dict observations take CoordCombinedExtractor and MultiInputPolicy.")
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        raise ValueError(
            f"An image network needs observations of shape (channels, height, width), not {space};"
            " for vectors take MlpPolicy."
        )
    if not is_image_space(space, normalized_image=normalized_image):
        raise ValueError(
            f"Images must be uint8 from 0 to 255, not {space}; if yours are scaled already, pass"
            " normalize_images=False in policy_kwargs."
        )
    channels, height, width = space.shape
    if width < min(channels, height):
        raise ValueError(
            f"Images of shape {space.shape} look channels-last; wrap the environment with"
            " VecTransposeImage, or move the channels to the front."
        )
