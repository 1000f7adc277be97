"""Images of what coordinates do in a network, for TensorBoard."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor, nn

from rl_coordconv.networks import coordconv_layers


@torch.no_grad()
def positional_map_images(model: BaseAlgorithm) -> dict[str, NDArray[np.uint8]]:
    """Return an image, uint8 ``[H, W, 3]``, of what each CoordConv layer's coordinates add.

    An image has a tile per filter: its positional map. White is 0, red increases the filter's
    output there, blue decreases it; full colour is the layer's largest absolute value.
    """
    extractor = model.policy.get_submodule("features_extractor")
    layers = coordconv_layers(extractor, controls=True)
    sizes: dict[str, torch.Size] = {}  # of each layer's input, taken from an empty image
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: inputs[0].shape[-2:]})
        )
        for name, layer in layers.items()
    ]
    shape = model.policy.observation_space.shape
    assert shape is not None
    extractor(torch.zeros(1, *shape, device=model.device))
    for hook in hooks:
        hook.remove()
    return {name: _tiles(x.positional_map(sizes[name]).cpu()) for name, x in layers.items()}


def _tiles(maps: Tensor) -> NDArray[np.uint8]:
    """Return maps ``[filters, h, w]`` as an image of tiles ``[H, W, 3]``, from blue to red."""
    maps = maps / maps.abs().max().clamp(min=1e-12)
    columns = math.ceil(math.sqrt(2 * len(maps)))
    maps = nn.functional.pad(maps, (0, 1, 0, 1, 0, -len(maps) % columns))  # lines and blank tiles
    sheet = torch.cat([torch.cat(list(row), dim=1) for row in maps.split(columns)])
    red, blue = sheet.relu(), (-sheet).relu()
    colours = torch.stack([1 - blue, 1 - red - blue, 1 - red], dim=-1)
    image: NDArray[np.uint8] = (colours * 255).byte().numpy()
    return image.repeat(4, axis=0).repeat(4, axis=1)
