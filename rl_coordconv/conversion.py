"""The implementation of `rl_coordconv.convert`, in a separate module because it imports torch."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Container, Sequence, Set

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from rl_coordconv.coordconv import (
    CoordConv1d,
    CoordConv2d,
    CoordConv3d,
    CoordConvTranspose2d,
    _CoordConvNd,
)
from rl_coordconv.replacement import check_source

# Optimiser state that scales the step size. For coordinate weights it starts at the mean over the
# other weights; starting at zero would make their first steps several times too large.
_SCALES = {"square_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "sum", "acc_delta", "step_size"}


def convert_layers(
    module: nn.Module,
    layers: str | Sequence[str],
    with_r: bool,
    optimizer: Optimizer | Sequence[Optimizer] | None,
) -> nn.Module:
    """Convert layers; see `rl_coordconv.convert` for the arguments and errors."""
    places = _places(module, layers)
    _check(module, places)
    # Compare parameters and modules by identity, so that shared ones stay shared.
    weights = {conv.weight for conv in places.values()}
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ())
    if any(weights.isdisjoint(_trained_by(optimizer)) for optimizer in optimizers):
        raise ValueError("The optimiser trains none of the convolutions to convert.")
    for optimizer in optimizers:
        _check_state(optimizer)
    converted = {conv: _layer_type(conv).from_conv(conv, with_r) for conv in places.values()}
    by_weight: dict[Tensor, _CoordConvNd] = {}
    for conv, layer in converted.items():
        weight = by_weight.setdefault(conv.weight, layer).weight
        layer._parameters = dict(conv._parameters)
        layer._buffers, layer._modules = conv._buffers, conv._modules
        layer.weight = weight
    for name, conv in places.items():
        if name == "":
            module = converted[conv]
        else:
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, converted[conv])
    for old, layer in by_weight.items():
        for optimizer in optimizers:
            _replace_weight(optimizer, old, layer)
    if _is_trained(weights):
        warnings.warn(
            "An optimiser still trains the old weights of converted layers: pass it as"
            " convert(..., optimizer=...), or create it after converting.",
            stacklevel=3,
        )
    # For a single convolution, the caller replaces the old layer with the returned one.
    if _is_shared(weights if "" in places else weights | converted.keys(), converted):
        warnings.warn(
            "Another network shares a converted layer or its weight and still has the old one:"
            " convert both in one call, for example in a ModuleList.",
            stacklevel=3,
        )
    return module


def _places(module: nn.Module, layers: str | Sequence[str]) -> dict[str, _ConvNd]:
    """Return the convolutions to convert, by name, with all that share a weight with them."""
    found = {
        name: layer
        for name, layer in module.named_modules(remove_duplicate=False)
        if isinstance(layer, _ConvNd)
    }
    if layers == "all":
        names = [name for name, conv in found.items() if not isinstance(conv, _CoordConvNd)]
    elif layers == "first":
        names = list(found)[:1]
    elif isinstance(layers, str) or not isinstance(layers, Sequence):
        raise ValueError(f"layers must be 'all', 'first' or a list of names, not {layers!r}.")
    else:
        names = list(layers)
    if not names:
        raise ValueError("There is no convolution to convert.")
    for name in names:
        if name not in found:
            raise ValueError(f"There is no convolution {name!r}; there are: {', '.join(found)}.")
    chosen = {_identity(found[name]) for name in names}
    return {name: conv for name, conv in found.items() if _identity(conv) in chosen}


def _identity(conv: _ConvNd) -> nn.Module | Tensor:
    """Return a layer's weight, which identifies layers that share it, or the layer without one."""
    weight = conv._parameters.get("weight")
    return conv if weight is None else weight


def _check(module: nn.Module, places: dict[str, _ConvNd]) -> None:
    """Raise a ValueError with the name of the first layer that cannot be converted."""
    if any(isinstance(part, nn.parallel.DistributedDataParallel) for part in module.modules()):
        raise ValueError(
            "DistributedDataParallel keeps the old weights; convert the network before wrapping it."
        )
    layouts: dict[Tensor, object] = {}
    for name, conv in places.items():
        try:
            check_source(conv, _layer_type(conv).plain, _layer_type(conv).__name__)
        except (TypeError, ValueError) as error:
            hint = "" if name == "" else " To skip it, pass the names of the others: layers=[...]."
            raise ValueError(f"Layer {name!r} cannot be converted: {error}{hint}") from error
        layout = (_layer_type(conv), conv.groups)
        if layouts.setdefault(conv.weight, layout) != layout:
            raise ValueError(f"Layer {name!r} shares its weight with a layer of another type.")
    own = {f"{name}.weight".lstrip(".") for name in places}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter in layouts and name not in own:
            raise ValueError(f"{name!r} shares the weight of a convolution; untie them to convert.")


def _layer_type(conv: _ConvNd) -> type[_CoordConvNd]:
    for layer_type in (CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d):
        if isinstance(conv, layer_type.plain):
            return layer_type
    raise TypeError(f"there is no CoordConv layer for a {type(conv).__name__}.")


def _trained_by(optimizer: Optimizer) -> set[Tensor]:
    return {parameter for group in optimizer.param_groups for parameter in group["params"]}


def _is_trained(weights: set[Tensor]) -> bool:
    """Return whether any optimiser in this process trains one of these weights."""
    lists = [thing for thing in gc.get_referrers(*weights) if type(thing) is list]
    groups = gc.get_referrers(*lists) if lists else []
    return any(
        type(group) is dict and any(group.get("params") is parameters for parameters in lists)
        for group in groups
    )


def _is_shared(things: Set[nn.Module | Tensor], converted: Container[nn.Module]) -> bool:
    """Return whether a module in this process, other than ``converted``, has one of these."""
    holders = [thing for thing in gc.get_referrers(*things) if type(thing) is dict]
    modules = gc.get_referrers(*holders) if holders else []
    # A module may refer to its attributes through a separate dict.
    modules += gc.get_referrers(*(x for x in modules if type(x) is dict and "_parameters" in x))
    return any(
        isinstance(module, nn.Module)
        and module not in converted
        and any(holder is module._parameters or holder is module._modules for holder in holders)
        for module in modules
    )


def _check_state(optimizer: Optimizer) -> None:
    """Raise a ValueError if a tensor of an optimiser's state has another shape than its weight."""
    for parameter, state in optimizer.state.items():
        for value in state.values():
            if torch.is_tensor(value) and value.dim() and value.shape != parameter.shape:
                raise ValueError(
                    f"The state of {type(optimizer).__name__} cannot be converted; create the"
                    " optimiser after converting."
                )


def _replace_weight(optimizer: Optimizer, old: Tensor, layer: _CoordConvNd) -> None:
    """Replace a weight in an optimiser by a layer's weight, and extend its state."""
    for group in optimizer.param_groups:
        group["params"][:] = [layer.weight if p is old else p for p in group["params"]]
    state = optimizer.state.pop(old, {})
    for name, value in state.items():
        if torch.is_tensor(value) and value.shape == old.shape:
            state[name] = layer.with_zero_coords(value)
            if name in _SCALES:
                state[name][layer.with_zero_coords(torch.ones_like(value)) == 0] = value.mean()
    if state:
        optimizer.state[layer.weight] = state
