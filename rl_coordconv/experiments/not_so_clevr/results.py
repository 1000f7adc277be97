"""Results of toy runs."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

import torch

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs import reports
from rl_coordconv.runs.reports import Row
from rl_coordconv.runs.stored import StoredRun


@dataclass(frozen=True)
class Result(reports.Result[ToyConfig]):
    """Settings and evaluations of a toy run."""

    @property
    def metric(self) -> str:
        """The main metric of the task."""
        return TASKS[self.config.task].metric

    @property
    def best_test(self) -> float:
        """The best score on the test samples over all evaluations."""
        best = min if self.config.lower_is_better else max
        return best(row[self.config.score] for row in self.rows)

    @property
    def n_parameters(self) -> int:
        """The number of parameters of the network."""
        with torch.random.fork_rng(devices=[]):
            model = make_model(self.config.task, self.config.model, self.config.shape)
        return sum(p.numel() for p in model.parameters())

    def first_test(self, goal: float) -> Row | None:
        """Return the first evaluation whose test score is at least as good as ``goal``, or None."""
        reaches = operator.le if self.config.lower_is_better else operator.ge
        return next((row for row in self.rows if reaches(row[self.config.score], goal)), None)


def read_result(run: StoredRun) -> Result:
    """Read the settings and evaluations of a run.

    Raises:
        UserError: The run is not a toy run, is damaged, or has not been evaluated yet.
    """
    result = reports.read_result(run, ToyConfig)
    rows = [{_column(name): value for name, value in row.items()} for row in result.rows]
    return Result(run, result.config, rows)


def _column(name: str) -> str:
    """Return a column's current name; the first version used other names."""
    renamed = {"epoch": "step", "loss": "train/loss", "learning_rate": "train/learning_rate"}
    return renamed.get(name) or re.sub(r"^(train|test)_", r"\1/", name)
