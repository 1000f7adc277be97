"""CoordConv layers: convolutions with access to the coordinates of each pixel.

Liu et al. 2018, "An intriguing failing of convolutional neural networks and the CoordConv solution"
(arXiv 1807.03247), section 3, append one channel of coordinates per axis to a convolution's input.
A convolution is linear, so

    conv([x, coords], W) = conv(x, W_x) + conv(coords, W_c)

and the second term, the *positional map*, is one image for the whole batch. The layers add this
image instead of building the concatenated tensor. Their output and their single ``weight`` are
those of the plain definition, ``conv(add_coords(x))``. Small inputs on a GPU are concatenated
instead: there, kernel launches take most of the time, and concatenation needs fewer of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import Self

from rl_coordconv.coordinates import add_coords as add_coords
from rl_coordconv.coordinates import coordinate_channels as coordinate_channels
from rl_coordconv.coordinates import joint_channels
from rl_coordconv.memory_format import memory_format_of, repeat_like
from rl_coordconv.replacement import check_source, parameter_like, take_over

fx.wrap(coordinate_channels)  # traced by torch.fx as one node, because sizes are unknown then

# On a GPU, convolutions with fewer multiply-adds than this concatenate (see `_work`). Chosen on an
# H100 (torch 2.11; 33 shapes in float32 and in channels-last bfloat16). Median times there of
# concatenation with cached coordinates and of the positional map, relative to nn.Conv2d:
#     eager, training        below the limit 1.17 and 1.82, above 1.48 and 1.12
#     eager, no gradients    below the limit 1.33 and 2.39, above 1.57 and 1.07
#     CUDA graph             below the limit 1.30 and 1.41, above 1.43 and 1.08
# To compare both, run ``python scripts/bench.py layer --device cuda`` with limits of 0 and inf.
_EAGER_LIMIT, _CAPTURED_LIMIT = 6e9, 6e8


class _CoordConvNd(_ConvNd):
    """Base class of the layers; `CoordConvTranspose2d` overrides the layout of the weight."""

    axes: ClassVar[int]
    plain: ClassVar[type[_ConvNd]]  # torch's class without coordinates
    with_r: bool
    # Caches, not buffers: they can be recomputed, so state_dicts, copies and pickles omit them.
    _coords_memo: tuple[object, Tensor] | None = None
    _batch_memo: tuple[object, Tensor] | None = None
    _map_memo: tuple[object, Tensor, Tensor, Tensor] | None = None
    _captured: tuple[Tensor, ...] = ()  # coordinates that captured CUDA graphs read

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        with_r: bool = False,
    ) -> None:
        # Torch's class initialises the joint weight. Two separate convolutions would initialise the
        # coordinate weights several times too large, because their fan-in is a few channels only.
        # This calls the constructor of ``plain``; mypy assumes `_ConvNd`'s, which takes tuples.
        super().__init__(  # type: ignore[call-arg]
            joint_channels(self.axes, in_channels, groups, with_r),
            out_channels,
            kernel_size,  # type: ignore[arg-type]
            stride=stride,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            dilation=dilation,  # type: ignore[arg-type]
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.in_channels = in_channels
        self.with_r = bool(with_r)

    @classmethod
    def from_conv(cls, conv: _ConvNd, with_r: bool = False) -> Self:
        """Convert a convolution to a layer with the same output and zero coordinate weights.

        Parameters are copied. Hooks are shared: their handles remove them from both modules.

        Raises:
            TypeError: The convolution is not of the matching torch class, or overrides `forward`.
            ValueError: Its weights are computed, for example by weight norm, or have no shape yet.
        """
        check_source(conv, cls.plain, cls.__name__)
        # On the meta device, the constructor draws no random numbers.
        layer = cls(conv.in_channels, conv.out_channels, 1, device="meta", with_r=with_r)
        take_over(layer, conv)
        layer.weight = parameter_like(conv.weight, layer.with_zero_coords(conv.weight.detach()))
        return layer

    @property
    def n_coords(self) -> int:
        """Number of coordinate channels per group: one per axis, and one for r."""
        return self.axes + self.with_r

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """Return the coordinate channels, ``[n_coords, *size]``; a subclass may override this."""
        return coordinate_channels(size, self.with_r, device=device, dtype=dtype)

    def split_weight(self) -> tuple[Tensor, Tensor]:
        """Split the weight: ``[out, in / groups, *kernel]`` and ``[out, n_coords, *kernel]``."""
        sizes = (self.in_channels // self.groups, self.n_coords)
        x_weight, coord_weight = self.weight.split(sizes, dim=1)
        return x_weight, coord_weight

    def positional_map(self, size: Sequence[int]) -> Tensor:
        """Return the contribution of the coordinates to the output, for an input of this size.

        The map, ``[out_channels, *output size]``, is the same for every sample; it has no bias.
        """
        coord_weight = self.split_weight()[1]
        x = coord_weight.new_empty(self.in_channels, *size)
        return self._convolve(self._coordinates(x), coord_weight, None, self.output_padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, *size]`` to ``[B, out_channels, *output size]``, with or without B."""
        return self._coord_convolve(x, self.output_padding)

    def with_zero_coords(self, x_weight: Tensor) -> Tensor:
        """Return a weight of this layer from ``x_weight`` and zero coordinate weights."""
        return F.pad(x_weight, [0, 0] * self.axes + [0, self.n_coords])

    def _convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, output_padding: tuple[int, ...]
    ) -> Tensor:
        """Convolve with this weight and bias; ``output_padding`` is for transposed layers."""
        return self._conv_forward(x, weight, bias)

    def _coord_convolve(self, x: Tensor, output_padding: tuple[int, ...]) -> Tensor:
        """Return conv(x, W_x) + conv(coords, W_c)."""
        # Torch annotates neither `is_tracing`, here and below, nor `extra_repr`.
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if tracing or isinstance(x, fx.Proxy):
            return self._recorded(x, output_padding)
        bias, map_bias = self.bias, None
        if x.is_cuda:
            if (batch := self._batch_of_coordinates(x)) is not None:
                return self._convolve(torch.cat([x, batch], 1), self.weight, bias, output_padding)
            bias, map_bias = None, bias  # added with the map, which saves torch's kernel for it
        elif not torch.is_grad_enabled() and x.is_cpu and self._memo_key(x):
            x_weight, positional_map = self._remembered(x, output_padding)
            return self._convolve(x, x_weight, bias, output_padding).add_(positional_map)
        elif bias is not None and torch.is_grad_enabled():
            # The gradients of map and bias are the same sum over the batch. To compute it once, the
            # bias gets its gradient through the map, to which it adds zeros. The zeros are written
            # in place, because bias - bias would be NaN for an infinite bias.
            bias, map_bias = bias.detach(), bias.clone()
            map_bias.detach().zero_()
        x_weight, coord_weight = self.split_weight()
        out = self._convolve(x, x_weight, bias, output_padding)
        coords = self._coordinates(x)
        positional_map = self._convolve(coords, coord_weight, map_bias, output_padding)
        return out.add_(repeat_like(positional_map, out))

    def _recorded(self, x: Tensor, output_padding: tuple[int, ...]) -> Tensor:
        """Compute the output with operations that torch.fx, torch.jit and ONNX can record."""
        x_weight, coord_weight = self.split_weight()
        positional_map = self._convolve(self._coordinates(x), coord_weight, None, output_padding)
        return self._convolve(x, x_weight, self.bias, output_padding) + positional_map.squeeze(0)

    def _remembered(self, x: Tensor, output_padding: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Return the weight over the input and the positional map, cached until something changes.

        Weights are compared by value: a version counter would miss writes through ``.data``, with
        which SB3 updates target networks. On a GPU, comparing would wait for the device.
        """
        autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
        geometry = (self.stride, self.padding, self.dilation, self.padding_mode, output_padding)
        key = (self._memo_key(x), geometry, autocast)
        memo = self._map_memo
        if memo is None or memo[0] != key or not memo[1].equal(self.weight):
            x_weight, coord_weight = self.split_weight()
            coords = self._coordinates(x)
            positional_map = self._convolve(coords, coord_weight, None, output_padding)
            self._map_memo = memo = (key, self.weight.clone(), x_weight.clone(), positional_map)
        return memo[2], memo[3]

    def _coordinates(self, x: Tensor) -> Tensor:
        """Return the coordinates for an input, repeated per group, in its dtype and format."""
        key = self._memo_key(x)
        memo = self._coords_memo
        captured = key is not None and x.is_cuda and torch.cuda.is_current_stream_capturing()
        if key is not None and memo is not None and memo[0] == key:
            if captured:
                self._captured = (*self._captured, memo[1])  # stays alive for replays
            return memo[1]
        # A tensor made in inference mode could not be used in a later training step.
        with torch.inference_mode(False):
            coords = self.make_coordinates(x.shape[-self.axes :], device=x.device, dtype=x.dtype)
            coords = coords.repeat(self.groups, *[1] * self.axes)
            if isinstance(x, fx.Proxy) or x.dim() == self.axes + 2:
                coords = coords.unsqueeze(0)
            if key is not None:
                coords = coords.contiguous(memory_format=memory_format_of(x))
                # A tensor made in a capture has no values before the first replay.
                self._coords_memo = memo if captured else (key, coords)
        return coords

    def _batch_of_coordinates(self, x: Tensor) -> Tensor | None:
        """Return coordinates to concatenate with a batch; None if the map is faster.

        CUDA graphs have a lower limit, because they launch all kernels at once. Eager calls have it
        too with ``cudnn.benchmark``, which must have seen a convolution before it is captured.
        """
        key, memo = self._memo_key(x), self._batch_memo
        if not key or self.groups > 1 or x.dim() != self.axes + 2:
            return None
        captured = torch.cuda.is_current_stream_capturing()
        limit = _CAPTURED_LIMIT if captured or torch.backends.cudnn.benchmark else _EAGER_LIMIT
        if self._work(x) >= limit:
            return None
        key = (len(x), *key)
        if memo is None or memo[0] != key:
            # A copy for each sample: an expanded view would lose the memory format and be slower.
            with torch.inference_mode(False):
                coords = self._coordinates(x).expand(len(x), *[-1] * (self.axes + 1))
                memo = (key, coords.contiguous(memory_format=memory_format_of(x)))
            self._batch_memo = self._batch_memo if captured else memo
        elif captured:
            self._captured = (*self._captured, memo[1])
        return memo[1]

    def _work(self, x: Tensor) -> float:
        """Return the multiply-adds, with at least 16 channels and 4 taps: fewer are not faster."""
        channels = max(self.in_channels, 16) * self.out_channels
        kernel = max(math.prod(self.kernel_size), 4)
        stride = 1 if self.transposed else math.prod(self.stride)
        return x.numel() / self.in_channels * channels * kernel / stride

    def _memo_key(self, x: Tensor) -> tuple[object, ...] | None:
        """Return the cache key of an input; None disables caches for tracers and ``torch.func``."""
        eager = (
            not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            and torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.PROXY) is None  # make_fx
            and type(x) is Tensor
            # ``self.weight`` would compute a parametrised weight once more.
            and type(self._parameters.get("weight")) is nn.Parameter
        )
        # The strides identify the memory format.
        return (x.shape[1:], x.stride()[1:], x.dtype, x.device) if eager else None

    def __getstate__(self) -> dict[str, Any]:
        memos = dict.fromkeys(["_coords_memo", "_batch_memo", "_map_memo"])
        return {**self.__dict__, **memos, "_captured": ()}

    def extra_repr(self) -> str:
        """Return torch's description, followed by ``with_r``."""
        return f"{super().extra_repr()}, with_r={self.with_r}"  # type: ignore[no-untyped-call]


class CoordConv1d(_CoordConvNd, nn.Conv1d):
    """``nn.Conv1d`` with coordinates; ``weight`` is ``[out, in / groups + 1 (+1 with r), k]``.

    Arguments: those of ``nn.Conv1d``, in the same order, and ``with_r`` (see `CoordConv2d`).
    """

    axes = 1
    plain = nn.Conv1d


class CoordConv2d(_CoordConvNd, nn.Conv2d):
    """``nn.Conv2d`` with access to the coordinates of each pixel (Liu et al. 2018, section 3).

    The output equals ``nn.Conv2d`` over ``add_coords(x)``, at about the cost of ``nn.Conv2d`` over
    ``x``. ``weight`` is ``[out, in / groups + 2 (+1 with r), kH, kW]``: the input channels of a
    group, then the coordinates i (rows), j (columns) and r, which all groups see. So a checkpoint
    is that of an ordinary convolution over the concatenated input. Coordinates are padded like the
    input, as in the paper: zero padding gives them 0, the coordinates of the image's centre.

    Arguments: those of ``nn.Conv2d``, in the same order, and the keyword ``with_r``, which adds a
    radius channel (see `coordinate_channels`).

    Examples:
        >>> CoordConv2d(4, 32, 8, stride=4)(torch.zeros(16, 4, 84, 84)).shape
        torch.Size([16, 32, 20, 20])
    """

    axes = 2
    plain = nn.Conv2d


class CoordConv3d(_CoordConvNd, nn.Conv3d):
    """``nn.Conv3d`` with coordinates; ``weight`` is ``[out, in / groups + 3 (+1 with r), ...]``.

    Arguments: those of ``nn.Conv3d``, in the same order, and ``with_r`` (see `CoordConv2d`).
    """

    axes = 3
    plain = nn.Conv3d


class CoordConvTranspose2d(_CoordConvNd, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` with access to the coordinates of its input (see `CoordConv2d`).

    ``weight`` is ``[in + groups * n, out / groups, kH, kW]``, as in torch, where n is 2, or 3 with
    r. The coordinates follow the input channels of each group.

    Arguments: those of ``nn.ConvTranspose2d``, in the same order, and ``with_r``.
    """

    axes = 2
    plain = nn.ConvTranspose2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        with_r: bool = False,
    ) -> None:
        nn.ConvTranspose2d.__init__(
            self,
            joint_channels(self.axes, in_channels, groups, with_r),
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            bias=bias,
            dilation=dilation,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.in_channels = in_channels
        self.with_r = bool(with_r)

    def split_weight(self) -> tuple[Tensor, Tensor]:
        """Return the weights over the input and over the coordinates.

        Their shapes are ``[in, out / groups, kH, kW]`` and
        ``[groups * n_coords, out / groups, kH, kW]``. They are views, or copies if ``groups > 1``.
        """
        by_group = self.weight.unflatten(0, (self.groups, -1))
        sizes = (self.in_channels // self.groups, self.n_coords)
        x_weight, coord_weight = by_group.split(sizes, dim=1)
        return x_weight.flatten(0, 1), coord_weight.flatten(0, 1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map ``[B, C, H, W]`` to ``[B, out_channels, *output size]``, with or without B."""
        if output_size is None:
            return self._coord_convolve(x, self.output_padding)
        # Torch's annotations allow lists only, but it passes tuples itself.
        output_padding = self._output_padding(
            x,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            self.axes,
            self.dilation,  # type: ignore[arg-type]
        )
        return self._coord_convolve(x, tuple(output_padding))

    def with_zero_coords(self, x_weight: Tensor) -> Tensor:
        """Return a weight of this layer, in which zeros follow the input channels of each group."""
        by_group = x_weight.unflatten(0, (self.groups, -1))
        return F.pad(by_group, [0, 0] * (self.axes + 1) + [0, self.n_coords]).flatten(0, 1)

    def _convolve(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, output_padding: tuple[int, ...]
    ) -> Tensor:
        assert isinstance(self.padding, tuple)
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )
