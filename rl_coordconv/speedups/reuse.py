"""A2C without its second forward pass.

A rollout and the update that follows see the same images with the same weights, so the update can
take the network's outputs from the rollout and compute gradients only. What is kept are the outputs
of convolutions and linear layers, which cost nearly all; what lies between is computed again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import MethodWrapperType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.utils import _pair
from torch.overrides import TorchFunctionMode

Network = Callable[[Tensor], Tensor]
Versions = list[tuple[int, int]]


class _Step(NamedTuple):
    """A forward pass: the images [B, ...], each layer's output, and the versions of the outputs."""

    images: Tensor
    outputs: list[Tensor]
    versions: Versions


class KeptForward:
    """The forward passes of a rollout, for one update.

    A forward pass is computed where nothing was recorded for it, or something changed since: the
    images, the weights, an output. A write through ``.data`` goes unnoticed.

    Args:
        module: What holds the network's weights.
        n_steps: Forward passes in a rollout.

    Raises:
        ValueError: A layer of it computes something else in training than in playing.
    """

    def __init__(self, module: nn.Module, n_steps: int) -> None:
        for layer in module.modules():
            if isinstance(layer, (_NormBase, _DropoutNd, nn.RReLU)):
                raise ValueError(f"{type(layer).__name__} needs a forward pass of its own.")
        self._weights = [*module.parameters(), *module.buffers()]
        self._weight_versions: Versions = []
        self._n_steps = n_steps
        self._steps: list[_Step] = []

    def record(self, network: Network, images: Tensor) -> Tensor:
        """``network(images)``, the next step of the rollout; images are [B, ...]."""
        if len(images) == 1:  # CoordConv's coordinates could not be told from it
            self._steps = []
            return network(images)
        weight_versions = _versions(self._weights)
        if len(self._steps) == self._n_steps or weight_versions != self._weight_versions:
            self._steps, self._weight_versions = [], weight_versions
        with _Record(len(images)) as record:
            features = network(images)
        self._steps.append(_Step(images, record.outputs, record.versions))
        return features

    def replay(self, network: Network, images: Tensor) -> Tensor:
        """``network(images)``, without computing it where the images are the rollout's, in order.

        That goes once: a network may change its outputs in place.
        """
        steps, self._steps = self._steps, []
        if not self._holds(steps, images):
            return network(images)
        by_layer = zip(*(step.outputs for step in steps), strict=True)
        known = [torch.cat(outputs) for outputs in by_layer]
        del steps, by_layer
        with _Replay(len(images), known):
            return network(images)

    def _holds(self, steps: list[_Step], images: Tensor) -> bool:
        """Whether the steps are the whole rollout that these images are, as it was recorded."""
        return (
            len(steps) == self._n_steps
            and _versions(self._weights) == self._weight_versions
            and all(_versions(step.outputs) == step.versions for step in steps)
            and len({len(step.outputs) for step in steps}) == 1
            and len(images) == sum(len(step.images) for step in steps)
            and all(
                torch.equal(_words(step.images), _words(part))
                for step, part in zip(steps, images.split(len(steps[0].images)), strict=False)
            )
        )


def _versions(tensors: Sequence[Tensor]) -> Versions:
    """How often each was changed in place, and where it lies."""
    return [(tensor._version, tensor.data_ptr()) for tensor in tensors]


def _words(images: Tensor) -> Tensor:
    """The same bytes, eight in a number where that goes: so they are compared faster."""
    flat = images.flatten()
    even = flat.storage_offset() % 8 == flat.numel() % 8 == 0
    return flat.view(torch.int64) if flat.dtype == torch.uint8 and even else flat


class _Layers(TorchFunctionMode, ABC):
    """Stands in for convolutions and linear layers, and for what is added to their output in place.

    What is called on another number of images, as by CoordConv on its coordinates, is computed.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._output: Tensor | None = None  # of the last layer, as long as it may change

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _KNOWN and _is_layer(func, self._batch_size, *args, **kwargs):
            self._output = self._layer(func, *args)
            return self._output
        if func is Tensor.add_ and _is_sum(self._output, *args, **kwargs):
            return self._sum(*args)
        self._pass(func)
        return func(*args, **kwargs)

    def _pass(self, func: Callable[..., Any]) -> None:
        """See a call of something else."""

    @abstractmethod
    def _layer(self, func: Callable[..., Tensor], *args: Any) -> Tensor:
        """What a layer returns."""

    @abstractmethod
    def _sum(self, output: Tensor, other: Tensor) -> Tensor:
        """The last layer's output, after something was added to it in place."""


def _is_layer(func: Callable[..., Tensor], batch_size: int, *args: Any, **kwargs: Any) -> bool:
    """Whether it is called as torch's layers call it, on a batch of that size."""
    n_axes = {F.conv2d: 4, F.linear: 2}[func]
    return (
        not kwargs
        and len(args) > 1
        and args[0].dim() == n_axes
        and len(args[0]) == batch_size
        and not any(isinstance(arg, str) for arg in args)  # padding by name
    )


def _is_sum(output: Tensor | None, *args: Any, **kwargs: Any) -> bool:
    """Whether a tensor is added to that output."""
    return len(args) == 2 and not kwargs and args[0] is output and isinstance(args[1], Tensor)


class _Record(_Layers):
    """Keeps what each layer returns."""

    def __init__(self, batch_size: int) -> None:
        super().__init__(batch_size)
        self.outputs: list[Tensor] = []
        self.versions: Versions = []

    def _layer(self, func: Callable[..., Tensor], *args: Any) -> Tensor:
        output = func(*args)
        self.outputs.append(output)
        self.versions += _versions([output])
        return output

    def _pass(self, func: Callable[..., Any]) -> None:
        # It may have used the output, which then must not change; to ask for a shape is no use.
        if not isinstance(func, MethodWrapperType):
            self._output = None

    def _sum(self, output: Tensor, other: Tensor) -> Tensor:
        output.add_(other)
        self.versions[-1:] = _versions([output])
        return output


class _Replay(_Layers):
    """Lets each layer return what is known, with the gradients of computing it."""

    def __init__(self, batch_size: int, outputs: Sequence[Tensor]) -> None:
        super().__init__(batch_size)
        self._outputs = iter(outputs)

    def _layer(self, func: Callable[..., Tensor], *args: Any) -> Tensor:
        return _KNOWN[func](next(self._outputs), *args)

    def _sum(self, output: Tensor, other: Tensor) -> Tensor:
        result: Tensor = _KnownSum.apply(output, other)
        return result


class _KnownConv(torch.autograd.Function):
    """A convolution whose output is known: only its gradients are computed."""

    @staticmethod
    def forward(
        ctx: Any,
        known: Tensor,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        settings: tuple[Any, ...],
    ) -> Tensor:
        ctx.settings = settings
        ctx.save_for_backward(x.to(known.dtype), weight.to(known.dtype))  # as autocast does
        return known.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        _, *needed, _ = ctx.needs_input_grad
        stride, padding, dilation, groups = ctx.settings
        settings = (stride, padding, dilation, False, (0, 0), groups)  # not transposed
        grads = torch.ops.aten.convolution_backward(
            grad, x, weight, weight.shape[:1], *settings, needed
        )
        return None, *grads, None


class _KnownLinear(torch.autograd.Function):
    """A linear layer whose output is known."""

    @staticmethod
    def forward(ctx: Any, known: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x.to(known.dtype), weight.to(known.dtype))
        return known.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        bias_grad = grad.sum(dim=0) if ctx.needs_input_grad[3] else None
        return None, grad @ weight, grad.T @ x, bias_grad


class _KnownSum(torch.autograd.Function):
    """A sum in place, as of a layer's output and CoordConv's map, that the output holds already."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, other: Tensor) -> Tensor:
        ctx.shape = other.shape
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad.sum_to_size(ctx.shape)


def _known_conv(
    known: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    settings = (_pair(stride), _pair(padding), _pair(dilation), groups)
    output: Tensor = _KnownConv.apply(known, x, weight, bias, settings)
    return output


def _known_linear(known: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    output: Tensor = _KnownLinear.apply(known, x, weight, bias)
    return output


_KNOWN: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.conv2d: _known_conv,
    F.linear: _known_linear,
}
