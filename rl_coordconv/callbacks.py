"""A Stable-Baselines3 callback that logs how an agent uses its coordinates."""

from __future__ import annotations

import math
import re

import numpy as np
import torch
from gymnasium.vector.utils import create_empty_array
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Image, Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.coordinates import above_zero, true_or_false
from rl_coordconv.networks import coordconv_layers


class CoordinateCallback(BaseCallback):
    """A callback that logs how an agent of any algorithm uses its coordinate channels.

        model.learn(1_000_000, callback=CoordinateCallback())

    It logs for every `CoordConv2d`, controls included, except in target networks:

    - ``coord/weight_share/<layer>``: the coordinates' share of the weight's squared norm, from 0 to
      1; initially about 2/6 with two coordinates and four frames.
    - ``coord/positional_map/<layer>``: an image for TensorBoard, see `positional_map_images`.

    Args:
        freq: Minimum number of steps between logs. The callback logs at the end of a rollout,
            starting with the first.
        maps: Log the images.

    Raises:
        ValueError: ``freq`` is not a positive integer.
    """

    def __init__(self, freq: int = 10_000, maps: bool = True) -> None:
        super().__init__()
        self._freq, self._maps = above_zero("freq", freq), true_or_false("maps", maps)

    def _on_training_start(self) -> None:
        self._due = self.num_timesteps

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps >= self._due:
            self._due = self.num_timesteps + self._freq
            self._log()

    def _log(self) -> None:
        # Not to the console: SB3 raises an error if two names are equal after truncation.
        for name, share in weight_shares(self.model.policy).items():
            self.logger.record(f"coord/weight_share/{name}", share, exclude=("stdout", "log"))
        if self._maps:
            record_positional_maps(self.logger, self.model.policy)


def record_positional_maps(logger: Logger, policy: BasePolicy) -> None:
    """Log an image of each layer's positional map; see `positional_map_images`."""
    for name, image in positional_map_images(policy).items():
        logger.record(
            f"coord/positional_map/{name}",
            Image(image, "HWC"),
            exclude=("stdout", "log", "json", "csv"),
        )


@torch.no_grad()
def weight_shares(policy: BasePolicy) -> dict[str, float]:
    """Return the coordinates' share of the squared norm of each layer's weight, from 0 to 1."""
    return {
        name: (layer.split_weight()[1].square().sum() / layer.weight.square().sum()).item()
        for name, layer in _layers(policy).items()
    }


@torch.no_grad()
def positional_map_images(policy: BasePolicy) -> dict[str, NDArray[np.uint8]]:
    """Draw the positional map of each layer: the coordinates' contribution to its output.

    Returns:
        An image per layer, uint8 ``[H, W, 3]``, with one tile per filter. White is 0, red positive,
        blue negative; full colour is the largest absolute value in the layer.
    """
    layers = _layers(policy)
    sizes: dict[str, torch.Size] = {}  # of each layer's input, measured on an empty observation
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: inputs[0].shape[-2:]})
        )
        for name, layer in layers.items()
    ]
    space = policy.observation_space
    # Gymnasium's annotation of the result covers all kinds of spaces.
    empty = obs_as_tensor(create_empty_array(space), policy.device)  # type: ignore[arg-type]
    observation = preprocess_obs(empty, space, policy.normalize_images)
    for extractor in policy.modules():
        # Skip the extractors of single images inside a `CombinedExtractor`.
        if isinstance(extractor, BaseFeaturesExtractor) and extractor._observation_space == space:
            extractor(observation)
    for hook in hooks:
        hook.remove()
    return {name: _tiles(layers[name].positional_map(size).cpu()) for name, size in sizes.items()}


def _layers(policy: BasePolicy) -> dict[str, CoordConv2d]:
    """Return the layers outside target networks; their names omit ``features_extractor``."""
    return {
        re.sub(r"(^|\.)features_extractor\.", r"\1", name): layer
        for name, layer in coordconv_layers(policy, controls=True).items()
        if not re.search(r"_target\.", name)
    }


def _tiles(maps: Tensor) -> NDArray[np.uint8]:
    """Arrange maps ``[filters, h, w]`` as tiles of one image ``[H, W, 3]``, from blue to red."""
    maps = maps / maps.abs().max().clamp(min=1e-12)
    columns = math.ceil(math.sqrt(2 * len(maps)))
    maps = nn.functional.pad(maps, (0, 1, 0, 1, 0, -len(maps) % columns))  # lines, blank tiles
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in maps.split(columns)])
    red, blue = sheet.relu(), (-sheet).relu()
    colours = torch.stack([1 - blue, 1 - red - blue, 1 - red], dim=-1)
    image: NDArray[np.uint8] = (colours * 255).byte().numpy()
    return image.repeat(4, axis=0).repeat(4, axis=1)
