"""The CoordConv layer: a convolution that knows where it is.

Liu et al. 2018, "An intriguing failing of convolutional neural networks and the CoordConv solution"
(arXiv 1807.03247), section 3, append to the input of a convolution one channel per axis that holds
each pixel's own coordinate. A convolution is linear, so

    conv([x, coords], W) = conv(x, W_x) + conv(coords, W_c)

and the second term is the same for every sample: one image per layer, the *positional map*. The
layers here add that image instead of building the concatenated tensor. What they compute, and the
one ``weight`` they hold, are those of the plain definition, ``conv(add_coords(x))``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

Conv = TypeVar("Conv", nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def coordinate_channels(
    size: Sequence[int],
    with_r: bool = False,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Where each pixel is: one channel per axis, from -1 to 1, ends included.

    Args:
        size: Pixels along each axis, for an image ``(height, width)``. An axis of one pixel has
            coordinate 0.
        with_r: Add the distance from the centre, ``r = sqrt(i^2 + j^2)``: 0 at the centre, sqrt(2)
            at the corners of an image.
        device: Where the tensor lives; torch's default device unless given.
        dtype: A floating type; torch's default type unless given.

    Returns:
        ``[len(size), *size]``, or ``[len(size) + 1, *size]`` with r: the channels i (row) and j
        (column) of an image, then r.

    >>> i, j = coordinate_channels((2, 3))
    >>> i
    tensor([[-1., -1., -1.],
            [ 1.,  1.,  1.]])
    >>> j
    tensor([[-1.,  0.,  1.],
            [-1.,  0.,  1.]])
    """
    dtype = dtype or torch.get_default_dtype()
    # Narrow types are rounded once, at the end: counting in bfloat16 would lose whole pixels.
    exact = torch.promote_types(dtype, torch.float32)
    axes = [
        torch.linspace(-1 if n > 1 else 0, 1 if n > 1 else 0, n, device=device, dtype=exact)
        for n in size
    ]
    channels = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    if with_r:
        r = channels.square().sum(dim=0, keepdim=True).sqrt()
        channels = torch.cat([channels, r])
    return channels.to(dtype)


def add_coords(x: Tensor, with_r: bool = False) -> Tensor:
    """Append the coordinate channels to a batch: the plain definition of CoordConv's input.

    The layers of this module compute the same without building this tensor.

    Args:
        x: ``[B, C, *size]`` with one to three axes. An integer tensor is promoted to torch's
            default floating type, as coordinates are fractions.
        with_r: Append the radius too.

    Returns:
        ``[B, C + n, *size]`` where n counts the axes, plus one with r.
    """
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    coords = coordinate_channels(x.shape[2:], with_r, device=x.device, dtype=dtype)
    return torch.cat([x.to(dtype), coords.expand(x.shape[0], *coords.shape)], dim=1)
