"""Replaying a training step as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_EAGER_CALLS = 3  # before the capture, in which cuDNN chooses algorithms and optimisers make state


class Captured:
    """A training step that is replayed as one CUDA graph; on a CPU it is called normally.

    A small network's step on a GPU is a hundred short kernels, and launching them one by one takes
    longer than computing them. The first calls, and calls with tensors of another shape, are
    normal calls, so every call is a step of the training.

    Args:
        step: A function of tensors that updates the weights and returns detached scalars. It must
            not copy to the CPU, draw random numbers or depend on other values that change. Its
            optimisers must be ``capturable``, and set gradients to None before each backward pass.
    """

    def __init__(self, step: Callable[..., Mapping[str, Tensor]]) -> None:
        self._step = step
        self._n_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: Mapping[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> Mapping[str, Tensor]:
        """Run the step; the values are overwritten by the next call."""
        if not inputs[0].is_cuda:
            return self._step(*inputs)
        if self._n_calls < _EAGER_CALLS:
            return self._on_side_stream(inputs)
        if self._graph is None:
            self._capture(inputs)
        if any(mine.shape != x.shape for mine, x in zip(self._inputs, inputs, strict=True)):
            return self._step(*inputs)
        assert self._graph is not None
        for mine, x in zip(self._inputs, inputs, strict=True):
            mine.copy_(x)
        self._graph.replay()
        return self._outputs

    def _on_side_stream(self, inputs: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        """Run the step on another stream, as a capture does, so that its memory is reused."""
        self._n_calls += 1
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = self._step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(x.clone() for x in inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._step(*self._inputs)
