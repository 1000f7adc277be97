"""Check and copy a torch convolution that a CoordConv layer replaces."""

from __future__ import annotations

import copy
import weakref

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized


def check_source(conv: nn.Module, plain: type[_ConvNd], target: str) -> None:
    """Raise an error unless a convolution has torch's own forward and plain parameters.

    Args:
        conv: The convolution, possibly of a subclass.
        plain: The torch class, such as ``nn.Conv2d``.
        target: The name of the new layer's class, for error messages.

    Raises:
        TypeError: It has another class, or its forward is overridden.
        ValueError: Its weights are computed (for example by weight norm) or not initialised yet.
    """
    mistake = f"{target} cannot be made from a {type(conv).__name__}"
    if not isinstance(conv, plain):
        raise TypeError(f"{mistake}.")
    # Look at the instance, which may override its forward too. A compiled call would run the old
    # layer.
    if vars(conv).get("_compiled_call_impl") or any(
        getattr(getattr(conv, name), "__func__", None) is not getattr(plain, name)
        for name in ("__call__", "forward", "_conv_forward")
    ):
        raise TypeError(f"{mistake} that overrides the forward of {plain.__name__}.")
    kind = "parametrization" if is_parametrized(conv) else "hook"
    if kind != "hook" or not {"weight", "bias"} <= conv._parameters.keys():
        raise ValueError(
            f"{mistake} whose weights are computed by a {kind}; remove the {kind} first."
        )
    if is_lazy(conv.weight):
        raise ValueError(f"{mistake} that is not initialised yet; run the network once first.")


def take_over(layer: nn.Module, conv: nn.Module) -> None:
    """Copy a convolution's settings, training mode, hooks and parameters to a layer.

    Parameters are deep-copied. Hooks are shared: removing one by its handle removes it from both.
    """
    own = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")
    vars(layer).update(vars(conv) | {name: copy.deepcopy(vars(conv)[name]) for name in own})
    # Torch annotates these hooks as plain callables, without these attributes.
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
