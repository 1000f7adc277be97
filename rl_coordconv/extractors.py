"""The networks of `rl_coordconv.networks` as feature extractors for Stable-Baselines3.

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
from rl_coordconv.networks import (
    NETWORKS,
    ImageNetwork,
    ImpalaNetwork,
    NatureNetwork,
    NetworkSettings,
    find_by_name,
    image_features,
)


class _LikeNatureCNN(type):
    """Metaclass of extractors that compare equal to `NatureCNN`.

    Policies choose the layers after the extractor by ``features_extractor_class == NatureCNN``: A2C
    adds none then, TD3 [256, 256]. After other classes they add more or wider layers, so an agent
    with coordinates would differ from one without in more than the coordinates.
    """

    def __eq__(cls, other: object) -> bool:
        return cls is other or other is NatureCNN

    __hash__ = type.__hash__  # by identity, so that dicts and sets keep the classes apart


class CoordExtractor(NatureCNN, metaclass=_LikeNatureCNN):
    """An `ImageNetwork` as a feature extractor.

    It derives from `NatureCNN` because Stable-Baselines3 passes ``normalized_image`` on for
    ``normalize_images=False`` to that class only. The names of the weights are also `NatureCNN`'s,
    and so are the layers that a policy puts after it (`_LikeNatureCNN`).

    Args:
        observation_space: Images, channels first: uint8 from 0 to 255 unless ``normalized_image``.
        features_dim: Length of the output; by default the paper's.
        normalized_image: Whether the images are scaled already. Then a space of any dtype and range
            is accepted, even if its shape looks channels-last.
        settings: ``coordinates``, ``with_r``, ``control`` and ``precision``; see `ImageNetwork`.

    Raises:
        ValueError: The space or an argument cannot be used; the message says what to do.
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
        # Its parts, not the network itself, so that the weights are named as in NatureCNN.
        self.cnn, self.linear, self.precision = network.cnn, network.linear, network.precision

    def forward(self, observations: Tensor) -> Tensor:
        """Float images ``[B, C, H, W]`` -> features ``[B, features_dim]``."""
        return image_features(observations, self.cnn, self.linear, self.precision)


class CoordNatureCNN(CoordExtractor):
    """`NatureNetwork` (Mnih et al. 2015); ``features_dim`` is 512 by default.

    With ``coordinates="none"``, parameters and initialisation are exactly those of
    Stable-Baselines3's `NatureCNN`, and the output is equal up to rounding. The arguments are those
    of `CoordExtractor`; images have at least 36x36 pixels.
    """

    network = NatureNetwork


class CoordImpalaCNN(CoordExtractor):
    """`ImpalaNetwork` (Espeholt et al. 2018); ``features_dim`` is 256 by default.

    The arguments are those of `CoordExtractor`.
    """

    network = ImpalaNetwork


class CoordCombinedExtractor(CombinedExtractor):
    """Stable-Baselines3's `CombinedExtractor` for Dict observations, with coordinates.

        A2C("MultiInputPolicy", env, policy_kwargs=policy_kwargs(
            "coordconv", features_extractor_class=CoordCombinedExtractor))

    Every image of the dict has its own network; everything else is flattened. Policies add the same
    layers after it as after `CombinedExtractor`.

    Args:
        observation_space: A Dict, not nested.
        cnn_output_dim: Features per image.
        normalized_image: As for `CoordExtractor`, for all images.
        extractor: The image network, a name in `EXTRACTORS`; ``nature`` is `CombinedExtractor`.
        options: Further settings of that network, as for `CoordExtractor`.
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
                " images take CnnPolicy and policy_kwargs without a features_extractor_class."
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
                f"There is no image in {observation_space}; images are uint8 from 0 to 255, or pass"
                " normalize_images=False in policy_kwargs."
            )


_BY_NETWORK: dict[type[ImageNetwork], type[CoordExtractor]] = {
    NatureNetwork: CoordNatureCNN,
    ImpalaNetwork: CoordImpalaCNN,
}

EXTRACTORS: dict[str, tuple[type[CoordExtractor], NetworkSettings]] = {
    name: (_BY_NETWORK[network], settings) for name, (network, settings) in NETWORKS.items()
}
"""The extractors by name: a class, and its ``features_extractor_kwargs``."""


def policy_kwargs(extractor: str, **own: Any) -> dict[str, Any]:
    """Return the ``policy_kwargs`` that put an extractor into a Stable-Baselines3 algorithm.

    With any algorithm, the agent differs from the default one with `NatureCNN` in the extractor
    alone: ``net_arch`` is left to the algorithm unless ``own`` contains it.

    Args:
        extractor: A name in `EXTRACTORS`.
        own: Further entries (``optimizer_class=...``); ``features_extractor_kwargs`` are merged.
            For ``MultiInputPolicy`` pass ``features_extractor_class=CoordCombinedExtractor``.

    Returns:
        A new dict for each call, as algorithms change theirs.

    Raises:
        ValueError: There is no such extractor, ``own`` names another class, or it contains a
            setting that belongs in ``features_extractor_kwargs``.
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
        raise ValueError("Name the extractor, or give a features_extractor_class, but not both.")
    own = copy.deepcopy(own)
    own["features_extractor_kwargs"] = options | (own.get("features_extractor_kwargs") or {})
    return own


def find_extractor(extractor: str) -> tuple[type[CoordExtractor], NetworkSettings]:
    """Return an entry of `EXTRACTORS`.

    Raises:
        ValueError: There is none of this name; the message suggests the nearest.
    """
    return find_by_name(extractor, EXTRACTORS)


def _check_space(space: spaces.Space[Any], normalized_image: bool) -> None:
    """Raise a ValueError that says what to do unless the space holds channels-first images."""
    if isinstance(space, spaces.Dict):
        raise ValueError(
            "For Dict observations take MultiInputPolicy and"
            " policy_kwargs(..., features_extractor_class=CoordCombinedExtractor)."
        )
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        raise ValueError(
            f"An image network needs observations of shape (channels, height, width), not {space};"
            " for vectors take MlpPolicy."
        )
    if not is_image_space(
        space, normalized_image=true_or_false("normalized_image", normalized_image)
    ):
        raise ValueError(
            f"Images must be uint8 from 0 to 255, not {space}; if yours are scaled already, pass"
            " normalize_images=False in policy_kwargs."
        )
    channels, height, width = space.shape
    if width < min(channels, height) and not normalized_image:
        raise ValueError(
            f"Images of shape {space.shape} look channels-last; wrap the environment with"
            " VecTransposeImage, or move the channels to the front. If they are there already,"
            " pass normalized_image=True in features_extractor_kwargs."
        )
