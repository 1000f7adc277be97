"""Give the convolutions of an existing network coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn


def convert(
    module: nn.Module, layers: Literal["all", "first"] = "all", with_r: bool = False
) -> nn.Module:
    """Replace a network's convolutions by CoordConv layers, without changing its output.

    Args:
        module: A network, changed in place, or a single convolution.
        layers: Which of its plain convolutions; ``first`` is by order of registration.
        with_r: Add the radius to the coordinates.

    Returns:
        The network, or the new layer where ``module`` is itself a convolution.

    Raises:
        ValueError: There is no convolution to convert, a hook computes the weight of one, or
            ``layers`` is something else.
    """
    # Imported here so that the package can import this function without loading torch. It does so
    # up front: a later import of this module would rebind `rl_coordconv.convert` to the module.
    from rl_coordconv.coordconv import CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d

    if layers not in ("all", "first"):
        raise ValueError(f"layers is 'all' or 'first', not {layers!r}.")
    coord_layers = {
        layer.plain: layer
        for layer in (CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d)
    }
    places = [
        (name, layer)
        for name, layer in module.named_modules(remove_duplicate=False)
        if type(layer) in coord_layers
    ]
    if not places:
        raise ValueError("There is no convolution to convert.")
    if layers == "first":
        places = [(name, layer) for name, layer in places if layer is places[0][1]]
    # By identity, so that a layer used in two places is still one layer.
    converted = {layer: coord_layers[type(layer)].from_conv(layer, with_r) for _, layer in places}
    for name, layer in places:
        if name == "":
            return converted[layer]
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, converted[layer])
    return module
