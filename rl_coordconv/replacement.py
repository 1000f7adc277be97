"""Checks and copying for replacing one of torch's convolutions by another layer."""

from __future__ import annotations

import copy
import weakref

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized


def check_source(conv: nn.Module, plain: type[_ConvNd], target: str) -> None:
    """Raise an error unless a convolution computes what torch's class does, from plain weights.

    Args:
        conv: The convolution; it may be of a subclass.
        plain: Torch's class.
        target: The name of the class to replace it with, for messages.

    Raises:
        TypeError: It is of another class, or its forward is overridden.
        ValueError: Its weights are computed (by weight norm, say) or have no shape yet.
    """
    mistake = f"{target} cannot be made from a {type(conv).__name__}"
    if not isinstance(conv, plain):
        raise TypeError(f"{mistake}.")
    # On the instance, where a forward may be replaced too. A compiled call keeps the old layer.
    if vars(conv).get("_compiled_call_impl") or any(
        getattr(getattr(conv, name), "__func__", None) is not getattr(plain, name)
        for name in ("__call__", "forward", "_conv_forward")
    ):
        raise TypeError(f"{mistake}, whose forward is not {plain.__name__}'s.")
    kind = "parametrization" if is_parametrized(conv) else "hook"
    if kind != "hook" or not {"weight", "bias"} <= conv._parameters.keys():
        raise ValueError(f"{mistake}, whose weights a {kind} computes; remove the {kind} first.")
    if is_lazy(conv.weight):
        raise ValueError(f"{mistake}, which has no shape yet; call the network once first.")


def take_over(layer: nn.Module, conv: nn.Module) -> None:
    """Give a layer the settings, mode and hooks of a convolution, and copies of its parameters.

    Both share their hooks: removing one by its handle removes it from both.
    """
    own = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
    vars(layer).update(vars(conv) | {name: copy.deepcopy(vars(conv)[name]) for name in own})
    # Torch annotates these hooks as plain callables.
    for hook in layer._load_state_dict_pre_hooks.values():
        if hook.with_module:  # type: ignore[attr-defined]
            hook.module = weakref.ref(layer)  # type: ignore[attr-defined]


def parameter_like(old: Tensor, value: Tensor) -> nn.Parameter:
    """Return a parameter with a new value, and the hooks and attributes of an old one."""
    new = nn.Parameter(value, requires_grad=old.requires_grad)
    vars(new).update(vars(old))
    new._backward_hooks = old._backward_hooks
    new._post_accumulate_grad_hooks = old._post_accumulate_grad_hooks
    return new
