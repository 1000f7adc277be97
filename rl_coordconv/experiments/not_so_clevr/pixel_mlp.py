"""The paper's 1x1 convolutions over tiled coordinates, without building the tiled image."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d, coordinate_channels

# Samples per pass through the network: few, so that activations stay in the CPU's cache.
_CHUNK = 2


class PixelMLP(nn.Sequential):
    """1x1 convolutions and ReLUs over tiled (x, y) and coordinate channels: an MLP for each pixel.

    The output equals that of ``nn.Sequential`` for the tiled input, but is faster to compute. The
    first layer is a CoordConv: its input is the same at every pixel and its coordinates are the
    same in every sample, so both parts are computed once and added. The other layers are matrix
    products over ``[pixels, channels]``.

    Args:
        canvas: Width and height of the image, in pixels.
        widths: Number of output channels of each layer.
    """

    def __init__(self, canvas: int, widths: tuple[int, ...]) -> None:
        layers: list[nn.Module] = [CoordConv2d(2, widths[0], 1)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.ReLU(), nn.Conv2d(before, after, 1)]
        super().__init__(*layers)
        self.canvas = canvas
        # Not in the state_dict, because it can be recomputed.
        coords = coordinate_channels((canvas, canvas)).flatten(1).T.contiguous()
        self.register_buffer("coords", coords, persistent=False)
        self.coords: Tensor  # [H * W, 2]

    def forward(self, xy: Tensor) -> Tensor:
        """Compute logits ``[B, C, H, W]`` of (x, y), ``[B, 2]``; C is the last of the widths."""
        first, *rest = (layer for layer in self if isinstance(layer, nn.Conv2d))
        assert isinstance(first, CoordConv2d)
        x_weight, coord_weight = (part.flatten(1) for part in first.split_weight())
        by_sample = F.linear(xy, x_weight)  # [B, C]
        by_pixel = F.linear(self.coords, coord_weight, first.bias)  # [H * W, C]
        weights = [part for layer in rest for part in (layer.weight.flatten(1), layer.bias)]
        out: Tensor = _Rest.apply(torch.is_grad_enabled(), by_sample, by_pixel, *weights)
        return out.transpose(1, 2).reshape(len(xy), -1, self.canvas, self.canvas)


class _Rest(torch.autograd.Function):
    """The layers after the first, applied to ``by_sample[:, None] + by_pixel``.

    On a CPU the backward pass skips pixels whose output gradient is 0. This is exact, and saves
    time because the softmax of a confident network underflows to 0 at most pixels.
    """

    @staticmethod
    def forward(
        ctx: Any, keeps: bool, by_sample: Tensor, by_pixel: Tensor, *weights: Tensor
    ) -> Tensor:
        """Compute ``[B, P, last width]`` from ``[B, C]``, ``[P, C]``, and weights and biases."""
        n_samples = len(by_sample) if by_sample.is_cuda else _CHUNK
        ctx.hidden, outs = [], []
        for part in by_sample.split(n_samples):
            x = (part[:, None] + by_pixel).flatten(0, 1)
            inputs = []
            for weight, bias in zip(weights[::2], weights[1::2], strict=True):
                inputs.append(x.relu_())
                x = F.linear(x, weight, bias)
            if keeps:
                ctx.hidden.append(inputs)
            outs.append(x.view(len(part), len(by_pixel), -1))
        ctx.save_for_backward(*weights)
        return torch.cat(outs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights = ctx.saved_tensors[::2]
        n_samples, n_pixels = grad.shape[:2]
        grad_sample = grad.new_zeros(n_samples, weights[0].shape[1])
        grad_pixel = grad.new_zeros(n_pixels, weights[0].shape[1])
        grads = [torch.zeros_like(part) for part in ctx.saved_tensors]
        start = 0
        for inputs in ctx.hidden:
            stop = start + len(inputs[0]) // n_pixels
            g = grad[start:stop].flatten(0, 1)  # [rows, width], from the last layer back
            rows = _rows_with_gradient(g)
            g = g[rows]
            for k in reversed(range(len(weights))):
                x = inputs[k][rows]
                grads[2 * k].addmm_(g.T, x)
                grads[2 * k + 1].add_(g.sum(dim=0))
                g = torch.ops.aten.threshold_backward(g @ weights[k], x, 0)
            if isinstance(rows, slice):
                tiled = g.view(-1, *grad_pixel.shape)
                grad_sample[start:stop] = tiled.sum(dim=1)
                grad_pixel += tiled.sum(dim=0)
            else:
                grad_sample.index_add_(0, start + rows // n_pixels, g)
                grad_pixel.index_add_(0, rows % n_pixels, g)
            start = stop
        return None, grad_sample, grad_pixel, *grads


def _rows_with_gradient(grad: Tensor) -> Tensor | slice:
    """Return the indices of rows that are not all 0, or a slice of all rows if most are not."""
    if grad.is_cuda:  # counting them would wait for the GPU
        return slice(None)
    rows = grad.any(dim=1).nonzero()[:, 0]
    return rows if len(rows) < len(grad) // 2 else slice(None)
