"""Measure the toy tasks' networks against plain implementations of the same networks.

The plain implementation ("as written") tiles inputs to images, concatenates coordinate channels,
and uses torch's layers in contiguous memory format. The weights are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.bench.timing import Report, make_report, ratios, time_interleaved
from rl_coordconv.coordconv import CoordConv2d, add_coords
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner
from rl_coordconv.experiments.not_so_clevr.pixel_mlp import PixelMLP
from rl_coordconv.runs.device import use_device

CASES = (
    ("classification", "coordconv"),
    ("classification", "deconv"),
    ("rendering", "coordconv"),
    ("rendering", "upsample-coordconv"),
    ("regression", "coordconv"),
    ("regression", "conv"),
)


class AsWritten(nn.Module):
    """The plain implementation of a network, with which it shares its weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.contiguous_format)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output of the network from the same input."""
        return _forward(self.model, x)


def _forward(module: nn.Module, x: Tensor) -> Tensor:
    if isinstance(module, PixelMLP):
        x = x[:, :, None, None].expand(-1, -1, module.canvas, module.canvas)
    if isinstance(module, nn.Sequential):
        for layer in module:
            x = _forward(layer, x)
        return x
    if isinstance(module, CoordConv2d):
        return F.conv2d(add_coords(x), module.weight, module.bias, padding=module.padding)
    out: Tensor = module(x)
    return out


def _updates(learner: ToyLearner) -> Callable[[], object]:
    """Return a function that does the next update at each call."""
    numbers = itertools.count()
    return lambda: learner.update(next(numbers))


def run(repeats: int, configs: Path, flags: Mapping[str, object] | None = None) -> Report:
    """Time one update of each network, on the CPU.

    Args:
        repeats: Number of measured rounds, at least 1.
        configs: The folder ``configs/toy``.
        flags: Settings of `ToyConfig` that override the quick preset.
    """
    use_device("cpu", 0)
    rows = []
    table = [["task", "model", "batch", "as written, ms", "ours, ms", "ours / as written"]]
    for task, model in CASES:
        chosen = {"task": task, "split": "quadrant", "model": model, "preset": "quick"}
        config = ToyConfig.load(
            ToyConfig.find_defaults(configs, chosen), {**chosen, **(flags or {})}
        )
        parts = split(config.split, config.canvas, config.square)
        learners = {name: ToyLearner(config, *parts) for name in ("as written", "ours")}
        learners["as written"].model = AsWritten(learners["as written"].model)
        updates = {name: _updates(learner) for name, learner in learners.items()}
        times = time_interleaved(updates, repeats)
        seconds = {name: median(values) for name, values in times.items()}
        ratio = ratios(times, "as written")["ours"]
        measured = {"seconds": seconds, "ratio": ratio}
        rows.append({"task": task, "model": model, "batch_size": config.batch_size, **measured})
        milliseconds = [f"{1000 * value:.1f}" for value in seconds.values()]
        table.append([task, model, str(config.batch_size), *milliseconds, f"{ratio:.2f}"])
    threads = torch.get_num_threads()
    note = f"Time of one update on a CPU with {threads} threads, from initial weights on."
    return make_report(repeats, {"threads": threads, "rows": rows}, [table], note)
