"""What CoordConv2d costs beside nn.Conv2d, and beside concatenating the coordinates.

The contenders take turns within each round, and a ratio is taken within a round: a machine that
slows down for a while slows down all of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

import torch
from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d, add_coords

WARM_UP = 3  # rounds that do not count

Contenders = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Spread:
    """The median of many numbers, and their quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise; a single value is its own quartiles."""
        low, middle, high = quantiles([*values] * 2, method="inclusive")
        return cls(middle, low, high)


def time_in_turns(
    contenders: Contenders, repeats: int, synchronize: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Time each contender once a round, in an order that changes from round to round.

    Args:
        contenders: What to call, by name.
        repeats: Rounds that count.
        synchronize: Waits for the device, where calls return before the work is done.

    Returns:
        Seconds, one number a round, by name.
    """
    names = list(contenders)
    order = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for a_round in range(-WARM_UP, repeats):
        for name in order.sample(names, len(names)):
            synchronize()
            start = time.perf_counter()
            contenders[name]()
            synchronize()
            if a_round >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


class ConcatConv2d(nn.Conv2d):
    """The plain definition, as published ports compute it: concatenate, then convolve."""

    def __init__(self, in_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(in_channels + 2, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` without the coordinates."""
        return super().forward(add_coords(x))


LAYERS: dict[str, type[nn.Conv2d]] = {
    "Conv2d": nn.Conv2d,
    "CoordConv2d": CoordConv2d,
    "concatenation": ConcatConv2d,
}


@dataclass(frozen=True)
class Case:
    """One row: a convolution of one input, and what of it is timed."""

    input: tuple[int, int, int, int]  # [B, C, H, W]
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    timed: str = "forward"

    @property
    def convolution(self) -> str:
        """The convolution in short."""
        stride = f" / {self.stride}" if self.stride > 1 else ""
        padding = f", pad {self.padding}" if self.padding else ""
        return f"{self.kernel_size}x{self.kernel_size}{stride}{padding} -> {self.out_channels}"

    def contenders(self, device: str, dtype: torch.dtype) -> Contenders:
        """One closure per layer."""
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        x = torch.rand(self.input, **where)
        geometry = (self.input[1], self.out_channels, self.kernel_size, self.stride, self.padding)
        layers = {name: layer(*geometry, **where) for name, layer in LAYERS.items()}
        return {name: _TIMED[self.timed](layer, x) for name, layer in layers.items()}


def _forward(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: layer(x)


def _rollout(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return torch.no_grad()(_forward(layer, x))


def _backward(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    grad = torch.rand_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), list(layer.parameters()), grad)


def _backward_to_input(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    x = x.clone().requires_grad_()
    grad = torch.rand_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), [x, *layer.parameters()], grad)


_TIMED = {
    "forward": _forward,
    "forward, no grad": _rollout,
    "forward + backward": _backward,
    "forward + backward to x": _backward_to_input,
}

_SHAPES: list[dict[str, Any]] = [
    {"input": (80, 4, 84, 84), "kernel_size": 8, "stride": 4, "out_channels": 32},
    {"input": (256, 4, 84, 84), "kernel_size": 8, "stride": 4, "out_channels": 32},
    {"input": (64, 4, 84, 84), "kernel_size": 3, "padding": 1, "out_channels": 16},
    {"input": (16, 64, 56, 56), "kernel_size": 3, "padding": 1, "out_channels": 64},
    {"input": (16, 32, 64, 64), "kernel_size": 1, "out_channels": 32},
]
_ROLLOUT = {"input": (16, 4, 84, 84), "kernel_size": 8, "stride": 4, "out_channels": 32}
