"""What the toy tasks gain over networks that are computed as they are written down.

As written: every input is an image, the coordinates are channels of it, every layer is torch's own,
and channels come before rows and columns in memory. The networks and their weights are the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.bench.timing import RATIO, aligned, ratios, time_interleaved
from rl_coordconv.coordconv import CoordConv2d, add_coords
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner
from rl_coordconv.experiments.not_so_clevr.one_hot import OneHotConvs
from rl_coordconv.experiments.not_so_clevr.pixel_mlp import PixelMLP
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import use_device

CASES = (
    ("classification", "coordconv"),
    ("classification", "deconv"),
    ("rendering", "coordconv"),
    ("rendering", "upsample-coordconv"),
    ("regression", "coordconv"),
    ("regression", "conv"),
)


class _AsWritten(nn.Module):
    """A layer, or a chain of them, computed as it is written down."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.module, PixelMLP):
            x = x[:, :, None, None].expand(-1, -1, self.module.canvas, self.module.canvas)
        layers = self.module if isinstance(self.module, nn.Sequential) else [self.module]
        for layer in layers:
            if isinstance(layer, CoordConv2d):
                x = F.conv2d(add_coords(x), layer.weight, layer.bias, padding=layer.padding)
            else:
                x = layer(x)
        return x


def as_written(model: nn.Module) -> nn.Module:
    """The same network, computed without this package's short cuts; its weights are shared."""
    model.to(memory_format=torch.contiguous_format)
    if isinstance(model, PixelMLP):
        return _AsWritten(model)
    assert isinstance(model, nn.Sequential)
    special = PixelMLP | OneHotConvs | CoordConv2d
    return nn.Sequential(*(_AsWritten(m) if isinstance(m, special) else m for m in model))


def _updates(learner: ToyLearner) -> Callable[[], object]:
    """One update after the other."""
    numbers = itertools.count()
    return lambda: learner.update(next(numbers))


def run(repeats: int, configs: Path, **sizes: Any) -> dict[str, Any]:
    """Time one update of each network, on the CPU.

    Args:
        repeats: Rounds that count.
        configs: The folder ``configs/toy``.
        sizes: Settings in place of those of the quick versions.

    Returns:
        What was measured and on what, as JSON holds it.

    Raises:
        UserError: There is nothing to measure.
    """
    if repeats < 1:
        raise UserError(f"repeats must be at least 1, not {repeats}.")
    use_device("cpu", 0)
    rows = []
    for task, model in CASES:
        chosen = {"task": task, "split": "quadrant", "model": model, "preset": "quick"}
        config = ToyConfig.load(ToyConfig.find_defaults(configs, chosen), {**chosen, **sizes})
        parts = split(config.split, config.canvas, config.square)
        learners = {name: ToyLearner(config, *parts) for name in ("as written", "ours")}
        learners["as written"].model = as_written(learners["as written"].model)
        updates = {name: _updates(learner) for name, learner in learners.items()}
        seconds = time_interleaved(updates, repeats)
        rows.append(
            {
                **{"task": task, "model": model, "batch_size": config.batch_size},
                "seconds": {name: median(s) for name, s in seconds.items()},
                "ratio": ratios(seconds, "as written")["ours"],
            }
        )
    return {
        **{"bench": "toy", "torch": torch.__version__, "threads": torch.get_num_threads()},
        **{"repeats": repeats, "rows": rows},
    }


def table(report: dict[str, Any]) -> str:
    """A report in Markdown, aligned for a terminal."""
    lines = [["task", "model", "batch", "as written, ms", "ours, ms", "ours / as written"]]
    for row in report["rows"]:
        milliseconds = (f"{1000 * value:.1f}" for value in row["seconds"].values())
        ratio = RATIO.format(**row["ratio"])
        lines.append([row["task"], row["model"], str(row["batch_size"]), *milliseconds, ratio])
    return aligned(lines) + "\n\n" + _NOTE.format(**report)


_NOTE = """\
One update, from the first weights on: median (quartiles) of {repeats} rounds, torch {torch},
on a CPU with {threads} threads. A ratio is taken within a round."""
