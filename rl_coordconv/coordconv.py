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
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from typing_extensions import Self


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

    Raises:
        TypeError: The type is of whole numbers.

    >>> i, j = coordinate_channels((2, 3))
    >>> i
    tensor([[-1., -1., -1.],
            [ 1.,  1.,  1.]])
    >>> j
    tensor([[-1.,  0.,  1.],
            [-1.,  0.,  1.]])
    """
    dtype = dtype or torch.get_default_dtype()
    if not (dtype.is_floating_point or dtype.is_complex):
        raise TypeError(f"Coordinates are fractions, which {dtype} cannot hold.")
    # Narrow types are rounded once, at the end: counting in bfloat16 would lose whole pixels.
    exact = torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    # One division of whole numbers: ``linspace`` can miss the 0 at the centre by a rounding error.
    axes = [torch.arange(1 - n, n, 2, device=device, dtype=exact) / max(n - 1, 1) for n in size]
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
    fractions = x.is_floating_point() or x.is_complex()
    dtype = x.dtype if fractions else torch.get_default_dtype()
    coords = coordinate_channels(x.shape[2:], with_r, device=x.device, dtype=dtype)
    return torch.cat([x.to(dtype), coords.expand(x.shape[0], *coords.shape)], dim=1)


class _CoordConvNd(_ConvNd, ABC):
    """What all ranks share: the two parts of the weight, and the positional map."""

    axes: ClassVar[int]
    with_r: bool
    # Memos, not buffers: what can be computed again has no place in a state_dict, copy or pickle.
    _coords_memo: tuple[object, Tensor] | None = None
    _map_memo: tuple[object, Tensor, Tensor, Tensor] | None = None

    @property
    def n_coords(self) -> int:
        """Coordinate channels that every group sees: one per axis, and r."""
        return self.axes + self.with_r

    def make_coordinates(
        self, size: Sequence[int], *, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """The channels that the layer sees beside its input, ``[n_coords, *size]``."""
        return coordinate_channels(size, self.with_r, device=device, dtype=dtype)

    @abstractmethod
    def split_weight(self) -> tuple[Tensor, Tensor]:
        """The part of ``weight`` over the input, and the part over the coordinates."""

    def positional_map(self, size: Sequence[int]) -> Tensor:
        """What the coordinates add to the output for an input of this size, bias excluded.

        Args:
            size: Pixels along each axis of the input.

        Returns:
            ``[out_channels, *output size]``, the same for every sample of a batch.
        """
        coord_weight = self.split_weight()[1]
        x = coord_weight.new_empty(self.in_channels, *size)
        return self._convolve(self._coordinates(x), coord_weight, None)

    @classmethod
    def from_conv(cls, conv: _ConvNd, with_r: bool = False) -> Self:
        """Give a plain convolution coordinates without changing its output.

        The coordinate weights start at zero; the other weights are copied.

        Raises:
            TypeError: The convolution is not of the matching torch class.
            ValueError: A hook computes its weight (old-style weight norm, say).
        """
        counterpart = _COUNTERPARTS.get(type(conv))
        if counterpart is None or not issubclass(cls, counterpart):
            raise TypeError(f"{cls.__name__} cannot be made from a {type(conv).__name__}.")
        if "weight" not in conv._parameters:
            raise ValueError("A hook computes this convolution's weight; remove the hook first.")
        # Everything but the weight stays: other parameters, hooks, mode. No random number is drawn.
        layer = copy.deepcopy(conv)
        layer.__class__ = cls
        assert isinstance(layer, cls)
        layer.with_r = with_r
        weight = layer._with_zero_coords(conv.weight.detach())
        layer.weight = nn.Parameter(weight, requires_grad=conv.weight.requires_grad)
        return layer

    @abstractmethod
    def _with_zero_coords(self, x_weight: Tensor) -> Tensor:
        """A ``weight`` with this part over the input, and zeros over the coordinates."""

    @abstractmethod
    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        """This layer's convolution, with a weight and bias of one's own."""

    def _coord_convolve(self, x: Tensor, *settings: Any) -> Tensor:
        """conv(x, W_x) + conv(coords, W_c); ``settings`` go on to ``_convolve``."""
        # On a GPU, comparing weights would mean waiting for the device.
        if not torch.is_grad_enabled() and x.is_cpu and self._is_eager(x):
            x_weight, positional_map = self._remembered_parts(x, *settings)
            return self._convolve(x, x_weight, self.bias, *settings).add_(positional_map)
        x_weight, coord_weight = self.split_weight()
        bias, zero = self.bias, None
        if bias is not None:
            # The map's gradient is a sum over the batch, and so is the bias's. A bias that gets its
            # gradient by way of the map, to which it adds zeros, saves summing the batch again.
            constant = bias.detach()
            bias, zero = constant, bias - constant
        out = self._convolve(x, x_weight, bias, *settings)
        positional_map = self._convolve(self._coordinates(x), coord_weight, zero, *settings)
        return out.add_(_repeated(positional_map, out))

    def _remembered_parts(self, x: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
        """The weight over the input and the map, of the last call unless something changed since.

        Weights are compared by value: a version counter would miss writes through ``.data``,
        which is how Stable-Baselines3 updates target networks.
        """
        autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu")
        geometry = (self.stride, self.padding, self.dilation, self.padding_mode, *settings)
        key = (_image_key(x), geometry, autocast)
        memo = self._map_memo
        if memo is None or memo[0] != key or not memo[1].equal(self.weight):
            x_weight, coord_weight = self.split_weight()
            positional_map = self._convolve(self._coordinates(x), coord_weight, None, *settings)
            memo = (key, self.weight.clone(), x_weight.clone(), positional_map)
            self._map_memo = memo
        return memo[2], memo[3]

    def _coordinates(self, x: Tensor) -> Tensor:
        """The coordinates for an input, once per group, in its type and memory format."""
        eager = self._is_eager(x)
        key = _image_key(x) if eager else None
        memo = self._coords_memo
        if eager and memo is not None and memo[0] == key:
            return memo[1]
        # A tensor born in inference mode could not serve in a later training step.
        with torch.inference_mode(False):
            size = x.shape[-self.axes :]
            coords = self.make_coordinates(size, device=x.device, dtype=x.dtype)
            coords = coords.repeat(self.groups, *[1] * self.axes)
            if x.dim() == self.axes + 2:
                coords = coords.unsqueeze(0)
            if eager:
                coords = coords.contiguous(memory_format=_memory_format(x))
                self._coords_memo = (key, coords)
        return coords

    def _is_eager(self, x: Tensor) -> bool:
        """Whether plain tensors flow: tracers and ``torch.func`` must not meet a memo."""
        return (
            not torch.compiler.is_compiling()
            # Torch annotates neither this nor `extra_repr` below.
            and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            and type(x) is Tensor
            # Not ``self.weight``: asking for a parametrised weight computes it once more.
            and type(self._parameters.get("weight")) is nn.Parameter
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_coords_memo": None, "_map_memo": None}

    def extra_repr(self) -> str:
        """Torch's line, and the radius."""
        # As above: not annotated.
        line: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{line}, with_r={self.with_r}"


class _CoordConv(_CoordConvNd):
    """The convolutions that are not transposed: ``weight`` is ``[out, in + n_coords, *kernel]``."""

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
        # Torch's class makes and initialises the joint weight. Two convolutions of their own would
        # start with coordinate weights several times too large: the fan-in of the few channels.
        joint_channels = in_channels + groups * (self.axes + with_r)
        settings: Any = (kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        where: Any = (device, dtype)
        super().__init__(joint_channels, out_channels, *settings, *where)
        self.in_channels = in_channels
        self.with_r = with_r

    def split_weight(self) -> tuple[Tensor, Tensor]:
        """Views of ``weight``, ``[out, in / groups, *kernel]`` and ``[out, n_coords, *kernel]``."""
        sizes = (self.in_channels // self.groups, self.n_coords)
        x_weight, coord_weight = self.weight.split(sizes, dim=1)
        return x_weight, coord_weight

    def _with_zero_coords(self, x_weight: Tensor) -> Tensor:
        return F.pad(x_weight, [0, 0] * self.axes + [0, self.n_coords])

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        return self._conv_forward(x, weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, *size]`` or ``[C, *size]`` -> the same with ``out_channels`` and a new size."""
        return self._coord_convolve(x)


class CoordConv1d(_CoordConv, nn.Conv1d):
    """``nn.Conv1d`` that sees positions too: ``weight`` is ``[out, in / groups + 1 (+1), k]``.

    Args are those of ``nn.Conv1d``, in the same order, and ``with_r`` (see `CoordConv2d`).
    """

    axes = 1


class CoordConv2d(_CoordConv, nn.Conv2d):
    """``nn.Conv2d`` that sees coordinates too (Liu et al. 2018, section 3).

    Equal to ``nn.Conv2d`` over ``add_coords(x)``, at the cost of one over ``x``. There is one
    ``weight``, ``[out, in / groups + 2 (+1), kH, kW]``, the coordinates after the input channels in
    the order i (rows), j (columns), then r; so a checkpoint is that of an ordinary convolution over
    the concatenated input. Every group sees the coordinates. Padding pads them as it does the
    input: zeros put the border at the image's centre, as in the paper.

    Args are those of ``nn.Conv2d``, in the same order, and the keyword ``with_r``: whether there is
    a radius channel (`coordinate_channels`).

    >>> CoordConv2d(4, 32, 8, stride=4)(torch.zeros(16, 4, 84, 84)).shape
    torch.Size([16, 32, 20, 20])
    """

    axes = 2


class CoordConv3d(_CoordConv, nn.Conv3d):
    """``nn.Conv3d`` that sees coordinates too: ``weight`` is ``[out, in / groups + 3 (+1), ...]``.

    Args are those of ``nn.Conv3d``, in the same order, and ``with_r`` (see `CoordConv2d`).
    """

    axes = 3


class CoordConvTranspose2d(_CoordConvNd, nn.ConvTranspose2d):
    """``nn.ConvTranspose2d`` that sees the coordinates of its input (see `CoordConv2d`).

    ``weight`` is ``[in + groups * (2 (+1)), out / groups, kH, kW]``, torch's layout: in every group
    the coordinates come after the group's input channels.

    Args are those of ``nn.ConvTranspose2d``, in the same order, and ``with_r``.
    """

    axes = 2

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
        joint_channels = in_channels + groups * (self.axes + with_r)
        settings: Any = (kernel_size, stride, padding, output_padding, groups, bias, dilation)
        where: Any = (padding_mode, device, dtype)
        nn.ConvTranspose2d.__init__(self, joint_channels, out_channels, *settings, *where)
        self.in_channels = in_channels
        self.with_r = with_r

    def split_weight(self) -> tuple[Tensor, Tensor]:
        """The parts, ``[in, out / groups, kH, kW]`` and ``[groups * n_coords, ...]``.

        With several groups they are copies of those in ``weight``.
        """
        by_group = self.weight.unflatten(0, (self.groups, -1))
        sizes = (self.in_channels // self.groups, self.n_coords)
        x_weight, coord_weight = by_group.split(sizes, dim=1)
        return x_weight.flatten(0, 1), coord_weight.flatten(0, 1)

    def _with_zero_coords(self, x_weight: Tensor) -> Tensor:
        by_group = x_weight.unflatten(0, (self.groups, -1))
        return F.pad(by_group, [0, 0] * (self.axes + 1) + [0, self.n_coords]).flatten(0, 1)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        output_padding = settings[0] if settings else self.output_padding
        assert isinstance(self.padding, tuple)
        return F.conv_transpose2d(
            x, weight, bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """``[B, C, H, W]`` or ``[C, H, W]`` -> the same with ``out_channels`` and a new size."""
        geometry = (self.stride, self.padding, self.kernel_size, self.axes, self.dilation)
        # Annotated for lists only; torch passes tuples itself.
        output_padding = self._output_padding(x, output_size, *geometry)  # type: ignore[arg-type]
        return self._coord_convolve(x, tuple(output_padding))


_COUNTERPARTS: dict[type[nn.Module], type[_CoordConvNd]] = {
    nn.Conv1d: CoordConv1d,
    nn.Conv2d: CoordConv2d,
    nn.Conv3d: CoordConv3d,
    nn.ConvTranspose2d: CoordConvTranspose2d,
}


def convert(
    module: nn.Module, layers: Literal["all", "first"] = "all", with_r: bool = False
) -> nn.Module:
    """Give a network's convolutions coordinates without changing its output.

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
    if layers not in ("all", "first"):
        raise ValueError(f"layers is 'all' or 'first', not {layers!r}.")
    places = [
        (name, layer)
        for name, layer in module.named_modules(remove_duplicate=False)
        if type(layer) in _COUNTERPARTS
    ]
    if not places:
        raise ValueError("There is no convolution to convert.")
    if layers == "first":
        places = [(name, layer) for name, layer in places if layer is places[0][1]]
    # By identity, so that a layer used in two places is still one layer.
    converted = {layer: _COUNTERPARTS[type(layer)].from_conv(layer, with_r) for _, layer in places}
    for name, layer in places:
        if name == "":
            return converted[layer]
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, converted[layer])
    return module


def _memory_format(x: Tensor) -> torch.memory_format:
    """The format that convolutions of this input keep."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    # By stride, as ``is_contiguous`` does not answer for these formats inside ``vmap``.
    if x.dim() in formats and x.stride(1) == 1 and not x.is_contiguous():
        return formats[x.dim()]
    return torch.contiguous_format


def _repeated(positional_map: Tensor, out: Tensor) -> Tensor:
    """A map that can be added to a layer's output, with a gradient that is summed fast.

    Over a batch that lies channels-last, torch 2.14 sums twenty times slower than over the same
    numbers in the order in which they lie, so the map is repeated in that order.
    """
    if _memory_format(out) is torch.contiguous_format:
        return positional_map
    in_order = positional_map.movedim(1, -1)
    return in_order.expand(out.shape[0], *in_order.shape[1:]).movedim(-1, 1)


def _image_key(x: Tensor) -> tuple[object, ...]:
    """What the coordinates of an input depend on, and its memory format with the strides."""
    return (x.shape[1:], x.stride()[1:], x.dtype, x.device)
