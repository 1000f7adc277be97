"""Runs of the detectors, grouped over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.names import DetectionModel
from rl_coordconv.runs import reports
from rl_coordconv.runs.reports import Result, group_results, read_result
from rl_coordconv.runs.stored import StoredRun

MODELS = get_args(DetectionModel)
"""Models in the order of tables."""

_BASELINES = ("rpn-conv", "faster-rcnn")
# Settings that are named in the rows of tables, with their defaults; the model is always named.
_CHOSEN = {"model": None, "preset": "quick", "anchors": "repaired", "evaluate_on": "test"}


@dataclass(frozen=True)
class Group(reports.Group[Result[DetectionConfig]]):
    """Runs that differ only in their seed: one row of each table."""

    @property
    def config(self) -> DetectionConfig:
        """The settings of the first seed."""
        return self.results[0].config

    @property
    def name(self) -> str:
        """The model, and settings that differ from the preset's."""
        return ", ".join([self.config.model, *reports.words(self.deviations)])

    @property
    def anchors(self) -> str:
        """The table of anchors; a dash for Faster R-CNN."""
        return self.config.anchors if self.config.proposes_only else "-"

    @property
    def kind(self) -> str:
        """The kind of detector, such as ``repaired anchors``."""
        return f"{self.anchors} anchors" if self.config.proposes_only else "Faster R-CNN"

    @property
    def is_baseline(self) -> bool:
        """Whether the model has no coordinates and is not a control."""
        return self.config.model in _BASELINES

    @property
    def command(self) -> str:
        """The command that trains the first seed."""
        chosen = self.config.model_dump(include=set(_CHOSEN))
        return self.train_command({k: x for k, x in chosen.items() if x != _CHOSEN[k]})

    def is_comparable(self, other: Group) -> bool:
        """Whether the models differ only in their coordinates."""
        return (
            self.config.proposes_only == other.config.proposes_only
            and self.config.preset == other.config.preset
            and self.config.evaluate_on == other.config.evaluate_on
            and self.anchors == other.anchors
            and self.deviations == other.deviations
        )


def group_runs(runs: Iterable[StoredRun]) -> list[Group]:
    """Group runs of detectors over seeds; other runs are ignored.

    Raises:
        UserError: A run cannot be read.
    """
    own = [run for run in runs if run.settings["experiment"] == "detection"]
    read = partial(read_result, config_class=DetectionConfig)
    parts = group_results(own, read, CONFIGS / "mnist_detection.yaml", set(_CHOSEN))
    return sorted((Group(*part) for part in parts), key=_rank)


def _rank(group: Group) -> tuple[object, ...]:
    """Return a group's sort key in tables; the authors' anchors and the paper's size come first."""
    config = group.config
    return (
        not config.proposes_only,
        config.preset == "quick",
        config.anchors == "repaired",
        len(group.deviations),
        MODELS.index(config.model),
        group.name,
    )
