"""Replaying a training step as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_EAGER_CALLS = 3  # before the capture: cuDNN chooses algorithms, optimisers create state


class Captured:
    """A training step that is replayed as one CUDA graph; on a CPU it is called normally.

    A small network's step on a GPU is a hundred short kernels, and launching them one by one takes
    longer than computing them. The first calls, and calls with tensors of another shape, are
    normal calls, so every call is a step of the training.

    Args:
        step: A function of tensors that updates the weights and returns detached scalars. It must
            not copy to the CPU, draw random numbers or depend on other values that change. Its
            optimisers must be ``capturable``, and set gradients to None before each backward pass.
            Calling it does the step without a graph.
    """

    def __init__(self, step: Callable[..., Mapping[str, Tensor]]) -> None:
        self.step = step
        self._n_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream: torch.cuda.Stream | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: Mapping[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> Mapping[str, Tensor]:
        """Run the step; the values are overwritten by the next call."""
        if not inputs[0].is_cuda:
            return self.step(*inputs)
        with torch.cuda.device(inputs[0].device):
            return self._on_gpu(inputs)

    def _on_gpu(self, inputs: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        if self._stream is None:
            self._stream = torch.cuda.Stream()
        if self._n_calls < _EAGER_CALLS:
            self._n_calls += 1
            return self._on_stream(inputs)
        if self._graph is None:
            self._inputs = tuple(x.clone() for x in inputs)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._outputs = self.step(*self._inputs)
        if any(mine.shape != x.shape for mine, x in zip(self._inputs, inputs, strict=True)):
            return self._on_stream(inputs)
        for mine, x in zip(self._inputs, inputs, strict=True):
            mine.copy_(x)
        self._graph.replay()
        return self._outputs

    def _on_stream(self, inputs: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        """Run the step on the stream of the capture, which must not be the default stream."""
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            outputs = self.step(*inputs)
        torch.cuda.current_stream().wait_stream(self._stream)
        return outputs
