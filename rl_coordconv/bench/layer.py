"""What CoordConv2d costs beside nn.Conv2d, and beside concatenating the coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rl_coordconv.bench.timing import (
    RATIO,
    Candidates,
    Spread,
    aligned,
    progress,
    ratios,
    time_interleaved,
)
from rl_coordconv.coordconv import CoordConv2d, add_coords
from rl_coordconv.runs.config import UserError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels-last": torch.channels_last,  # that of trainings on a CPU
}


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
    """A convolution of one input, and what of it is timed."""

    input: tuple[int, int, int, int]  # [B, C, H, W]
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    timed: str = "forward"

    @property
    def convolution(self) -> str:
        """The convolution in short."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        padding = f" pad {self.padding}" if self.padding else ""
        return f"{self.kernel_size}x{self.kernel_size}{stride}{padding} -> {self.out_channels}"

    def candidates(self, device: str, dtype: str, memory_format: str) -> Candidates:
        """What to time, by layer, on the same input."""
        where: dict[str, Any] = {"device": device, "dtype": DTYPES[dtype]}
        geometry = (self.input[1], self.out_channels, self.kernel_size, self.stride, self.padding)
        x = torch.rand(self.input, **where).to(memory_format=MEMORY_FORMATS[memory_format])
        return {
            name: _TIMED[self.timed](layer(*geometry, **where), x) for name, layer in LAYERS.items()
        }


def _forward(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: layer(x)


def _rollout(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return torch.no_grad()(lambda: layer(x))


def _train(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    upstream = torch.rand_like(layer(x))
    inputs = [x] if x.requires_grad else []
    return lambda: torch.autograd.grad(layer(x), [*layer.parameters(), *inputs], upstream)


def _train_hidden(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return _train(layer, x.clone().requires_grad_())


_TIMED = {
    "forward": _forward,
    "forward, no grad": _rollout,
    "forward + backward": _train,
    "forward + backward to input": _train_hidden,
}


def _cases() -> Iterator[Case]:
    """Forward and training of five shapes, then a rollout's forward."""
    first = {"kernel_size": 8, "stride": 4, "out_channels": 32}
    shapes: list[dict[str, Any]] = [
        {"input": (80, 4, 84, 84), **first},  # an update of A2C: 16 environments, 5 steps
        {"input": (256, 4, 84, 84), **first},  # a minibatch of PPO
        {"input": (64, 4, 84, 84), "kernel_size": 3, "padding": 1, "out_channels": 16},
        {"input": (16, 64, 56, 56), "kernel_size": 3, "padding": 1, "out_channels": 64},
        {"input": (16, 32, 64, 64), "kernel_size": 1, "out_channels": 32},
    ]
    for shape in shapes:
        hidden = shape["input"][1] > 4
        yield Case(**shape)
        yield Case(**shape, timed="forward + backward" + (" to input" if hidden else ""))
    yield Case((16, 4, 84, 84), **first, timed="forward, no grad")


CASES = tuple(_cases())


def run(
    repeats: int,
    device: str = "cpu",
    dtype: str = "float32",
    memory_format: str = "contiguous",
) -> dict[str, Any]:
    """Measure every case.

    Args:
        repeats: Rounds that count.
        device: ``cpu`` or ``cuda``.
        dtype: One of `DTYPES`.
        memory_format: One of `MEMORY_FORMATS`: how the input lies in memory.

    Returns:
        What was measured and on what, as JSON holds it: ``seconds`` and ``ratio_to_conv2d`` by
        layer, each with its median, low and high quartile. A ratio is taken within a round.

    Raises:
        UserError: There is no such device, or nothing to measure.
    """
    if repeats < 1:
        raise UserError(f"repeats must be at least 1, not {repeats}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device here.")
    where = {"device": device, "dtype": dtype, "memory_format": memory_format}
    return {
        "bench": "layer",
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "memory_format": memory_format,
        "repeats": repeats,
        "rows": [_measure(case, repeats, **where) for case in progress(CASES, "Measuring")],
    }


def _measure(case: Case, repeats: int, **where: str) -> dict[str, Any]:
    wait = torch.cuda.synchronize if where["device"] == "cuda" else lambda: None
    seconds = time_interleaved(case.candidates(**where), repeats, wait)
    return {
        **asdict(case),
        "convolution": case.convolution,
        "seconds": {name: asdict(Spread.of(values)) for name, values in seconds.items()},
        "ratio_to_conv2d": ratios(seconds, "Conv2d"),
    }


def table(report: dict[str, Any]) -> str:
    """A report in Markdown, aligned for a terminal."""
    others = list(LAYERS)[1:]
    lines = [["input", "convolution", "timed", "Conv2d, ms", *others]]
    for row in report["rows"]:
        milliseconds = {k: 1000 * v for k, v in row["seconds"]["Conv2d"].items()}
        spreads = [milliseconds, *(row["ratio_to_conv2d"][name] for name in others)]
        numbers = [RATIO.format(**spread) for spread in spreads]
        lines.append(["x".join(map(str, row["input"])), row["convolution"], row["timed"], *numbers])
    return aligned(lines) + "\n\n" + _NOTE.format(**report)


_NOTE = """\
Median (quartiles) of {repeats} rounds; torch {torch}, {device}, {threads} threads, {dtype},
{memory_format} inputs. CoordConv2d and concatenation, which is Conv2d over add_coords(x): ratios to
Conv2d in the same round. As in training, backward goes to the weights, and to the input where the
layer is hidden."""
