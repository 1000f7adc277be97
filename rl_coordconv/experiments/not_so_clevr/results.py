"""What came out of a toy run, read from its folder, beside what the paper says."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from rich.table import Table

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.paper import claim
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run, rows_until


@dataclass(frozen=True)
class Result:
    """A run that is finished or under way.

    Args:
        config: Its settings.
        rows: Its evaluations, from before the first update on; seconds are those of updates.
    """

    config: ToyConfig
    rows: Sequence[Mapping[str, float]]

    @property
    def measure(self) -> str:
        """The most telling of the task's measures."""
        return next(iter(TASKS[self.config.task].measures))

    @property
    def last(self) -> Mapping[str, float]:
        """The last evaluation."""
        return self.rows[-1]

    @property
    def less_is_better(self) -> bool:
        """Whether the measure is a distance."""
        return self.measure.endswith("pixels")

    @property
    def best_test(self) -> float:
        """The best measure over the test samples at any evaluation."""
        best = min if self.less_is_better else max
        return best(row[f"test_{self.measure}"] for row in self.rows)

    @property
    def n_parameters(self) -> int:
        """How many numbers the network learns."""
        with torch.device("meta"):
            model = make_model(self.config.task, self.config.model, self.config.shape)
        return sum(p.numel() for p in model.parameters())

    def first_test(self, goal: float) -> Mapping[str, float] | None:
        """The first evaluation as good as ``goal`` over the test samples; None if there is none."""
        reaches = operator.le if self.less_is_better else operator.ge
        return next((row for row in self.rows if reaches(row[f"test_{self.measure}"], goal)), None)


def read_result(folder: Path) -> Result:
    """Read a run folder.

    Raises:
        UserError: It holds no toy run, or none with an evaluation.
    """
    run = Run(folder)
    try:
        config = ToyConfig.model_validate(yaml.safe_load(run.config.read_text(encoding="utf-8")))
        rows = [
            {name: float(value) for name, value in row.items()}
            for row in rows_until(run.progress, "epoch", config.n_epochs)
        ]
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{folder} holds no toy run that can be read: {error}") from None
    if not rows:
        raise UserError(f"The run in {folder} has not been evaluated yet.")
    return Result(config, rows)


def results_table(result: Result) -> Table:
    """A run's last evaluation beside the paper's values, for the terminal."""
    config, last = result.config, result.last
    paper = claim(config.task, config.split, config.model)
    table = Table("", "ours", "paper", title=f"{config.task}, {config.split}, {config.model}")
    for part, theirs in (("train", paper.train), ("test", paper.test)):
        for i, name in enumerate(TASKS[config.task].measures):
            value = last[f"{part}_{name}"]
            ours = f"{value:.2%}" if name == "accuracy" else f"{value:.3f}"
            table.add_row(f"{part} {name.replace('_', ' ')}", ours, theirs if i == 0 else "-")
    table.add_row("seconds of training", f"{last['seconds']:,.1f}", paper.seconds)
    table.add_row("updates", f"{last['updates']:,.0f}", "-")
    table.add_row("parameters", f"{result.n_parameters:,}", paper.parameters)
    return table
