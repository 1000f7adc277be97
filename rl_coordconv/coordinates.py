"""Coordinate channels, and the concatenation that defines CoordConv (Liu et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import torch
from torch import Tensor


def coordinate_channels(
    size: Sequence[int],
    with_r: bool = False,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return the coordinates of every pixel, one channel per axis, from -1 to 1 inclusive.

    Args:
        size: Pixels along each axis, ``(height, width)`` for an image. An axis of one pixel has
            coordinate 0.
        with_r: Append the distance from the centre, ``r = sqrt(i^2 + j^2)``: 0 at the centre of an
            image, sqrt(2) at its corners.
        device: Device of the result; by default torch's default device.
        dtype: Floating-point type of the result; by default torch's default dtype.

    Returns:
        ``[len(size), *size]``, or ``[len(size) + 1, *size]`` with r. The channels of an image are
        i (rows), j (columns), then r.

    Raises:
        TypeError: ``dtype`` is not a floating-point type.
        ValueError: ``with_r`` is neither true nor false.

    Examples:
        >>> i, j = coordinate_channels((2, 3))
        >>> i
        tensor([[-1., -1., -1.],
                [ 1.,  1.,  1.]])
        >>> j
        tensor([[-1.,  0.,  1.],
                [-1.,  0.,  1.]])
    """
    with_r = true_or_false("with_r", with_r)
    dtype = dtype or torch.get_default_dtype()
    if not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"Coordinates are fractions and need a floating-point dtype, not {dtype}.")
    # Round to narrow types once, at the end: bfloat16 cannot represent every pixel index.
    exact = torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    # Divide integers: with ``linspace``, rounding can miss the 0 at the centre.
    axes = [torch.arange(1 - n, n, 2, device=device, dtype=exact) / max(n - 1, 1) for n in size]
    channels = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    if with_r:
        r = channels.square().sum(dim=0, keepdim=True).sqrt()
        channels = torch.cat([channels, r])
    return channels.to(dtype)


def add_coords(x: Tensor, with_r: bool = False) -> Tensor:
    """Append the coordinate channels to a batch, as in the paper's definition of CoordConv.

    The layers in `rl_coordconv.coordconv` compute their output without building this tensor.

    Args:
        x: ``[B, C, *size]`` with one to three spatial axes. An integer tensor is converted to
            torch's default dtype.
        with_r: Also append the radius r.

    Returns:
        ``[B, C + n, *size]``, where n is the number of spatial axes, plus one with r.
    """
    holds_fractions = x.is_floating_point() or x.is_complex()
    dtype = x.dtype if holds_fractions else torch.get_default_dtype()
    coords = coordinate_channels(x.shape[2:], with_r, device=x.device, dtype=dtype)
    return torch.cat([x.to(dtype), coords.expand(x.shape[0], *coords.shape)], dim=1)


def joint_channels(axes: int, in_channels: int, groups: int, with_r: bool) -> int:
    """Return a layer's number of channels: the input's, plus the coordinates of each group.

    Raises:
        ValueError: ``in_channels`` is negative, or ``with_r`` is neither true nor false.
    """
    if in_channels < 0:
        raise ValueError(f"in_channels must be at least 0, not {in_channels}.")
    return in_channels + groups * (axes + true_or_false("with_r", with_r))


def true_or_false(name: str, value: object) -> bool:
    """Return a flag as a bool.

    Raises:
        ValueError: It is neither true nor false; a string such as ``"False"`` would count as true.
    """
    if value not in (True, False):
        raise ValueError(f"{name} must be True or False, not {value!r}.")
    return bool(value)


def above_zero(name: str, value: object) -> int:
    """Return a positive integer as an int.

    Raises:
        ValueError: It is not a positive integer.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer, not {value!r}.")
    return int(value)
