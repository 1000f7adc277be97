"""Reuse the forward passes of a rollout in the update of A2C.

A rollout and its update process the same images with the same weights. So the update can reuse the
rollout's outputs of convolutions and linear layers, where nearly all the time is spent, and compute
only their gradients. The operations between these layers are computed again.

Without it A2C on two cores is about 4% slower (``docs/performance.md``). See also
`policy.ReuseCnnPolicy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from rl_coordconv.coordconv import CoordConv2d

Network = Callable[[Tensor], Tensor]


class _Step(NamedTuple):
    """One forward pass: the images ``[B, ...]``, and each layer's output with its version."""

    images: Tensor
    outputs: list[Tensor]
    versions: list[int]


class RecordedForward:
    """The recorded forward passes of one rollout.

    If images, weights or outputs changed since the rollout, the update computes its forward pass.
    Changes through ``.data`` are not detected.

    Args:
        module: The network.
        n_steps: Number of forward passes in a rollout.

    Raises:
        ValueError: A layer behaves differently in training than in a rollout.
    """

    def __init__(self, module: nn.Module, n_steps: int) -> None:
        for layer in module.modules():
            if isinstance(layer, (_NormBase, _DropoutNd, nn.RReLU)):
                raise ValueError(
                    f"{type(layer).__name__} behaves differently in training than in a rollout."
                )
        self._layers = [layer for layer in module.modules() if _is_known(layer)]
        self._weights = [*module.parameters(), *module.buffers()]
        self._weight_versions: list[tuple[int, int]] = []
        self._n_steps = n_steps
        self._steps: list[_Step] = []

    def record(self, network: Network, images: Tensor) -> Tensor:
        """Return ``network(images)``, and record layer outputs as the rollout's next step."""
        weight_versions = self._versions_of_weights()
        if len(self._steps) == self._n_steps or weight_versions != self._weight_versions:
            self._steps, self._weight_versions = [], weight_versions
        step = _Step(images, [], [])

        def record_output(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            step.outputs.append(output)
            step.versions.append(output._version)

        with ExitStack() as hooks:
            for layer in self._layers:
                hooks.enter_context(layer.register_forward_hook(record_output))
            features = network(images)
        self._steps.append(step)
        return features

    def replay(self, network: Network, images: Tensor) -> Tensor:
        """Return ``network(images)``, from the recorded outputs if these are the rollout's images.

        The recording is used only once, because the network may change outputs in place.
        """
        steps, self._steps = self._steps, []
        if not self._is_rollout(steps, images):
            return network(images)
        outputs = [torch.cat(parts) for parts in zip(*(s.outputs for s in steps), strict=True)]
        known = iter(outputs)
        for layer in self._layers:
            layer.forward = partial(_apply_known, known, layer)
        try:
            return network(images)
        finally:
            for layer in self._layers:
                del layer.forward  # restores the class's method

    def _is_rollout(self, steps: list[_Step], images: Tensor) -> bool:
        """Return whether these are the images of all steps, and nothing changed since."""
        return (
            len(steps) == self._n_steps
            and self._versions_of_weights() == self._weight_versions
            and all([x._version for x in step.outputs] == step.versions for step in steps)
            and len({len(step.outputs) for step in steps}) == 1
            and torch.equal(torch.cat([step.images for step in steps]), images)
        )

    def _versions_of_weights(self) -> list[tuple[int, int]]:
        """Return the version (number of in-place changes) and address of each weight."""
        return [(weight._version, weight.data_ptr()) for weight in self._weights]


def _is_known(layer: nn.Module) -> bool:
    """Return whether `_apply_known` supports a layer."""
    if type(layer) is nn.Linear:
        return True
    is_conv = type(layer) is nn.Conv2d or isinstance(layer, CoordConv2d)
    return is_conv and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple)


def _apply_known(known: Iterator[Tensor], layer: nn.Module, x: Tensor) -> Tensor:
    """Return a layer's recorded output, with the gradients of computing it from ``x``."""
    function = _KnownLinear if isinstance(layer, nn.Linear) else _KnownConv
    output: Tensor = function.apply(next(known), x, layer.weight, layer.bias, layer)
    return output


class _KnownConv(torch.autograd.Function):
    """A convolution, with or without coordinates, whose output is already known."""

    @staticmethod
    def forward(
        ctx: Any, known: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv2d
    ) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x.to(known.dtype), weight.to(known.dtype))  # as autocast does
        return known.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[1:4]
        backward = partial(_conv_backward, ctx.layer)
        if not isinstance(ctx.layer, CoordConv2d):
            return None, *backward(grad, x, weight, (needs_x, needs_weight, needs_bias)), None
        # Coordinates are the same in every sample, so sum the gradient over the batch first. Sum in
        # memory order: in torch 2.14 other orders are twenty times slower for channels-last.
        x_weight, coord_weight = weight.split(
            (x.shape[1] // ctx.layer.groups, ctx.layer.n_coords), 1
        )
        grad_map = grad.movedim(1, -1).sum(dim=0).movedim(-1, 0)[None]
        coords = ctx.layer._coordinates(x)
        grad_x, grad_x_weight, _ = backward(grad, x, x_weight, (needs_x, needs_weight, False))
        _, grad_coord_weight, grad_bias = backward(
            grad_map, coords, coord_weight, (False, needs_weight, needs_bias)
        )
        grad_weight = torch.cat([grad_x_weight, grad_coord_weight], 1) if needs_weight else None
        return None, grad_x, grad_weight, grad_bias, None


def _conv_backward(
    layer: nn.Conv2d, grad: Tensor, x: Tensor, weight: Tensor, needed: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias, where needed."""
    grads: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        weight.shape[:1],
        layer.stride,
        layer.padding,
        layer.dilation,
        False,  # not transposed
        (0, 0),
        layer.groups,
        needed,
    )
    return grads


class _KnownLinear(torch.autograd.Function):
    """A linear layer whose output is already known."""

    @staticmethod
    def forward(
        ctx: Any, known: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Linear
    ) -> Tensor:
        ctx.save_for_backward(x.to(known.dtype), weight.to(known.dtype))
        return known.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        grad_bias = rows.sum(dim=0) if ctx.needs_input_grad[3] else None
        return None, grad @ weight, rows.T @ x.flatten(0, -2), grad_bias, None
