"""Feature extractors for Stable-Baselines3, from the networks in `rl_coordconv.networks`.

For example, ``A2C("CnnPolicy", env, policy_kwargs=policy_kwargs("coordconv"))``.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    NatureCNN,
)
from torch import Tensor, nn
from typing_extensions import Unpack

from rl_coordconv.coordinates import true_or_false
from rl_coordconv.names import NetworkSettings, find_by_name
from rl_coordconv.networks import (
    NETWORKS,
    ImageNetwork,
    ImpalaNetwork,
    NatureNetwork,
    image_features,
)


class _LikeNatureCNN(type):
    """Metaclass of extractors that compare equal to `NatureCNN`.

    Policies choose the default ``net_arch`` by ``features_extractor_class == NatureCNN``: for that
    class A2C adds no layers and TD3 [256, 256], for others more or wider layers. Comparing equal
    ensures that agents with and without coordinates differ in the coordinates only.
    """

    def __eq__(cls, other: object) -> bool:
        return cls is other or other is NatureCNN

    __hash__ = type.__hash__  # by identity: the classes stay distinct in dicts and sets


class CoordExtractor(NatureCNN, metaclass=_LikeNatureCNN):
    """Base class of the extractors: an `ImageNetwork` as a feature extractor.

    It is a subclass of `NatureCNN` because Stable-Baselines3 passes ``normalized_image`` to that
    class only (with ``normalize_images=False``). Weights have the same names as in `NatureCNN`, and
    policies add the same layers after it (see `_LikeNatureCNN`).

    Args:
        observation_space: Images, channels first: uint8 from 0 to 255 unless ``normalized_image``.
        features_dim: Number of output features; by default that of the network's paper.
        normalized_image: The images are already scaled, so accept any dtype and range, and shapes
            that look channels-last.
        settings: ``coordinates``, ``with_r``, ``control``, ``precision`` and ``global_pooling``,
            see `ImageNetwork`.

    Raises:
        ValueError: The space or an argument is not supported; the message says what to change.
    """

    network: ClassVar[type[ImageNetwork]]

    def __init__(
        self,
        observation_space: spaces.Box,
        features_dim: int | None = None,
        normalized_image: bool = False,
        **settings: Unpack[NetworkSettings],
    ) -> None:
        _check_space(observation_space, normalized_image)
        network = self.network(observation_space.shape, features_dim, **settings)
        # Not NatureCNN's constructor, which would build its own network.
        BaseFeaturesExtractor.__init__(self, observation_space, network.features_dim)
        # Assign the parts, not the network, so that weights have the same names as in NatureCNN.
        self.cnn, self.linear, self.precision = network.cnn, network.linear, network.precision

    def forward(self, observations: Tensor) -> Tensor:
        """Compute features ``[B, features_dim]`` of float images ``[B, C, H, W]``."""
        return image_features(observations, self.cnn, self.linear, self.precision)


class CoordNatureCNN(CoordExtractor):
    """Extractor with the Nature network (Mnih et al. 2015); ``features_dim`` is 512 by default.

    With ``coordinates="none"``, parameters and initialisation are exactly those of
    Stable-Baselines3's `NatureCNN`, and the output is equal up to rounding. Arguments are those of
    `CoordExtractor`; images must have at least 36x36 pixels.
    """

    network = NatureNetwork


class CoordImpalaCNN(CoordExtractor):
    """Extractor with the IMPALA network (Espeholt et al. 2018); ``features_dim`` is 256 by default.

    Arguments are those of `CoordExtractor`; images may have any size.
    """

    network = ImpalaNetwork


class CoordCombinedExtractor(CombinedExtractor):
    """Stable-Baselines3's `CombinedExtractor` for Dict observations, with coordinates.

        A2C("MultiInputPolicy", env, policy_kwargs=policy_kwargs(
            "coordconv", features_extractor_class=CoordCombinedExtractor))

    Each image in the dict gets its own network; other entries are flattened. Policies add the same
    layers after it as after `CombinedExtractor`.

    Args:
        observation_space: A Dict space, not nested.
        cnn_output_dim: Number of features per image.
        normalized_image: As for `CoordExtractor`, for all images.
        extractor: A name in `EXTRACTORS`; with ``nature``, the result equals `CombinedExtractor`.
        options: Further settings of the image networks, as for `CoordExtractor`.

    Raises:
        ValueError: The space is not a Dict or has no image, or an argument is invalid.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        cnn_output_dim: int = 256,
        normalized_image: bool = False,
        extractor: str = "coordconv",
        **options: Unpack[NetworkSettings],
    ) -> None:
        network, settings = find_extractor(extractor)
        if not isinstance(observation_space, spaces.Dict):
            raise ValueError(
                f"CoordCombinedExtractor needs Dict observations, not {observation_space}; for"
                " images use CnnPolicy and policy_kwargs without features_extractor_class."
            )
        # Not CombinedExtractor's constructor, which would build its own networks.
        BaseFeaturesExtractor.__init__(self, observation_space, features_dim=1)
        self.extractors = nn.ModuleDict()
        self._features_dim = 0
        for key, space in observation_space.spaces.items():
            if is_image_space(space, normalized_image=normalized_image):
                assert isinstance(space, spaces.Box)
                self.extractors[key] = network(
                    space, cnn_output_dim, normalized_image, **(settings | options)
                )
                self._features_dim += cnn_output_dim
            else:
                self.extractors[key] = nn.Flatten()
                self._features_dim += get_flattened_obs_dim(space)
        if all(isinstance(part, nn.Flatten) for part in self.extractors.values()):
            raise ValueError(
                f"There is no image in {observation_space}; images must be uint8 from 0 to 255; if"
                " they are already scaled, pass normalize_images=False in policy_kwargs."
            )


_BY_NETWORK: dict[type[ImageNetwork], type[CoordExtractor]] = {
    NatureNetwork: CoordNatureCNN,
    ImpalaNetwork: CoordImpalaCNN,
}

EXTRACTORS: dict[str, tuple[type[CoordExtractor], NetworkSettings]] = {
    name: (_BY_NETWORK[network], settings) for name, (network, settings) in NETWORKS.items()
}
"""Extractors by name: the class and its ``features_extractor_kwargs``."""


def policy_kwargs(extractor: str, **own: Any) -> dict[str, Any]:
    """Return the ``policy_kwargs`` that select an extractor, for any Stable-Baselines3 algorithm.

    The agent differs from the algorithm's default agent for images in its extractor only:
    ``net_arch`` keeps its default unless ``own`` contains it.

    Args:
        extractor: A name in `EXTRACTORS`.
        own: Further entries (``optimizer_class=...``); ``features_extractor_kwargs`` is merged.
            For ``MultiInputPolicy`` pass ``features_extractor_class=CoordCombinedExtractor``.

    Returns:
        A new dict on each call, because algorithms modify theirs.

    Raises:
        ValueError: The extractor is unknown, or ``own`` contains another
            ``features_extractor_class`` or a setting that belongs in
            ``features_extractor_kwargs``.
    """
    network, settings = find_extractor(extractor)
    for name in own.keys() & {*NetworkSettings.__annotations__, "features_dim"}:
        raise ValueError(
            f"{name} is a setting of the extractor:"
            f" pass features_extractor_kwargs={{{name!r}: {own[name]!r}}}."
        )
    chosen = own.setdefault("features_extractor_class", network)
    if chosen is CoordCombinedExtractor:
        options: dict[str, Any] = {"extractor": extractor}
    elif chosen is network:
        options = {**settings}
    else:
        raise ValueError(f"features_extractor_class conflicts with {extractor!r}; remove it.")
    own = copy.deepcopy(own)
    own["features_extractor_kwargs"] = options | (own.get("features_extractor_kwargs") or {})
    return own


def find_extractor(extractor: str) -> tuple[type[CoordExtractor], NetworkSettings]:
    """Look up an extractor in `EXTRACTORS`.

    Raises:
        ValueError: The name is unknown; the message suggests the nearest one.
    """
    return find_by_name(extractor, EXTRACTORS)


def _check_space(space: spaces.Space[Any], normalized_image: bool) -> None:
    """Raise a ValueError with advice unless the space contains channels-first images."""
    if isinstance(space, spaces.Dict):
        raise ValueError(
            "For Dict observations use MultiInputPolicy and"
            " policy_kwargs(..., features_extractor_class=CoordCombinedExtractor)."
        )
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        raise ValueError(
            f"An image network needs observations of shape (channels, height, width), not {space};"
            " for vectors use MlpPolicy."
        )
    if not is_image_space(
        space, normalized_image=true_or_false("normalized_image", normalized_image)
    ):
        raise ValueError(
            f"Images must be uint8 from 0 to 255, not {space}; if they are already scaled, pass"
            " normalize_images=False in policy_kwargs."
        )
    channels, height, width = space.shape
    if width < min(channels, height) and not normalized_image:
        raise ValueError(
            f"Images of shape {space.shape} look channels-last; wrap the environment with"
            " VecTransposeImage, or move the channels to the front. If they are channels-first,"
            " pass normalized_image=True in features_extractor_kwargs."
        )
