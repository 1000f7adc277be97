"""Benchmark of CoordConv2d against nn.Conv2d and against concatenation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from rl_coordconv.bench import timing
from rl_coordconv.coordconv import CoordConv2d, coordinate_channels
from rl_coordconv.memory_format import memory_format_of
from rl_coordconv.runs.config import UserError

_MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels-last": torch.channels_last,  # as in training on a CPU
}


class ConcatConv2d(nn.Conv2d):
    """Concatenation with cached coordinates for the whole batch, its fastest form.

    An expanded view of one sample's coordinates would be slower and lose channels-last.
    """

    _coords: Tensor | None = None

    def __init__(self, in_channels: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(in_channels + 2, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]``, without the coordinates, to ``[B, out_channels, ...]``."""
        coords = self._coords
        if coords is None or coords.shape[2:] != x.shape[2:] or len(coords) != len(x):
            coords = coordinate_channels(x.shape[2:], device=x.device, dtype=x.dtype)
            coords = coords.expand(len(x), *coords.shape)
            self._coords = coords = coords.contiguous(memory_format=memory_format_of(x))
        return super().forward(torch.cat([x, coords], dim=1))


LAYERS: dict[str, type[nn.Conv2d]] = {
    "Conv2d": nn.Conv2d,
    "CoordConv2d": CoordConv2d,
    "concatenation": ConcatConv2d,
}


@dataclass(frozen=True)
class Case:
    """A convolution, its input size, and the passes to time."""

    input: tuple[int, int, int, int]  # [B, C, H, W]
    out_channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    timed: str = "forward"

    @property
    def convolution(self) -> str:
        """A short description, such as ``8x8/4 -> 32`` with stride 4 and 32 output channels."""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        padding = f" pad {self.padding}" if self.padding else ""
        return f"{self.kernel_size}x{self.kernel_size}{stride}{padding} -> {self.out_channels}"

    def candidates(
        self, device: str, dtype: str, memory_format: str
    ) -> dict[str, Callable[[], object]]:
        """Return a function for each layer that runs the passes to time on the same input."""
        x = torch.rand(self.input, device=device, dtype=getattr(torch, dtype))
        x = x.to(memory_format=_MEMORY_FORMATS[memory_format])
        geometry = (self.input[1], self.out_channels, self.kernel_size, self.stride, self.padding)
        return {
            name: _passes(layer(*geometry, device=device, dtype=x.dtype), x, self.timed)
            for name, layer in LAYERS.items()
        }


def _passes(layer: nn.Module, x: Tensor, timed: str) -> Callable[[], object]:
    if timed == "forward":
        return lambda: layer(x)
    if timed == "forward, no grad":
        return torch.no_grad()(lambda: layer(x))
    inputs: list[Tensor] = list(layer.parameters())
    if timed == "forward + backward to input":
        x = x.clone().requires_grad_()
        inputs.append(x)
    upstream = torch.rand_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), inputs, upstream)


def captured(call: Callable[[], object]) -> Callable[[], object]:
    """Capture a call in a CUDA graph, and return the function that replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(timing.WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def _cases() -> Iterator[Case]:
    """Yield forward and training passes for five shapes, then the forward pass of a rollout."""
    shapes = [
        Case((80, 4, 84, 84), 32, 8, stride=4),  # an update of A2C: 16 environments, 5 steps
        Case((256, 4, 84, 84), 32, 8, stride=4),  # a minibatch of PPO
        Case((64, 4, 84, 84), 16, 3, padding=1),
        Case((16, 64, 56, 56), 64, 3, padding=1),
        Case((16, 32, 64, 64), 32, 1),
    ]
    for case in shapes:
        hidden = case.input[1] > 4
        yield case
        yield replace(case, timed="forward + backward" + (" to input" if hidden else ""))
    yield Case((16, 4, 84, 84), 32, 8, stride=4, timed="forward, no grad")


CASES = tuple(_cases())
LARGE_CASES = (  # for a GPU, on which the other cases are small
    Case((2048, 4, 84, 84), 32, 8, stride=4, timed="forward, no grad"),
    Case((2048, 4, 84, 84), 32, 8, stride=4, timed="forward + backward"),
    Case((256, 64, 56, 56), 64, 3, padding=1, timed="forward, no grad"),
    Case((256, 64, 56, 56), 64, 3, padding=1, timed="forward + backward to input"),
)


def run(repeats: int, device: str, dtype: str, memory_format: str) -> timing.Report:
    """Measure every case.

    Args:
        repeats: Number of measured rounds, at least 1.
        device: ``cpu`` or ``cuda``.
        dtype: One of `bench.DTYPES`.
        memory_format: Memory format of the input, one of `bench.MEMORY_FORMATS`.

    Raises:
        UserError: There is no CUDA device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device on this machine.")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    modes, cases = ["eager"], CASES
    if device == "cuda":
        modes, cases = [*modes, "captured"], (*cases, *LARGE_CASES)
    rows = []
    table = [["input", "convolution", "timed", "Conv2d, ms", "CoordConv2d", "concatenation"]]
    for case, mode in timing.progress([*product(cases, modes)], "Measuring"):
        candidates = case.candidates(device, dtype, memory_format)
        if mode == "captured":
            candidates = {name: captured(call) for name, call in candidates.items()}
        seconds = timing.time_interleaved(candidates, repeats, wait)
        ratio = timing.ratios(seconds, "Conv2d")
        measured = {"seconds": timing.spreads(seconds), "ratio_to_conv2d": ratio}
        rows.append({**asdict(case), "convolution": case.convolution, "mode": mode, **measured})
        milliseconds = timing.Spread.of([1000 * value for value in seconds["Conv2d"]])
        numbers = [milliseconds, ratio["CoordConv2d"], ratio["concatenation"]]
        size = "x".join(map(str, case.input))
        timed = case.timed if mode == "eager" else f"{case.timed}, {mode}"
        table.append([size, case.convolution, timed, *(f"{n:.2f}" for n in numbers)])
    setting = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "memory_format": memory_format,
    }
    note = """\
CoordConv2d and concatenation (with cached coordinates): time relative to Conv2d. The backward
pass computes the gradients of the weights, and of the input where noted, as in a hidden layer.
{device}, {threads} threads, {dtype}, {memory_format} inputs.""".format(**setting)
    return timing.make_report(repeats, {**setting, "rows": rows}, [table], note)
