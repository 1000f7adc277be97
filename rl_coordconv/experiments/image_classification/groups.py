"""Runs of the classifiers, grouped over seeds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.experiments.image_classification.config import SMALL_DATA, ClassificationConfig
from rl_coordconv.experiments.image_classification.names import ClassificationModel
from rl_coordconv.runs import reports
from rl_coordconv.runs.reports import Result, group_results, read_result
from rl_coordconv.runs.stored import StoredRun

MODELS = get_args(ClassificationModel)
"""Models in the order of tables, with the baseline first."""

# Settings that are named in the rows of tables, with their defaults; the model is always named.
_CHOSEN = {"model": None, "preset": "quick", "data": "quadrants", "backbone": "shufflenet_v2_x0_5"}


@dataclass(frozen=True)
class Group(reports.Group[Result[ClassificationConfig]]):
    """Runs that differ only in their seed: one row of each table."""

    @property
    def config(self) -> ClassificationConfig:
        """The settings of the first seed."""
        return self.results[0].config

    @property
    def name(self) -> str:
        """The model."""
        return self.config.model

    @property
    def task(self) -> str:
        """The data, backbone, preset, and settings that differ from the preset's."""
        config = self.config
        return ", ".join(
            [
                config.data_name,
                config.backbone,
                f"{config.preset} preset",
                *reports.words(self.deviations),
            ]
        )

    @property
    def command(self) -> str:
        """The command that trains the first seed."""
        chosen = self.config.model_dump(include=set(_CHOSEN))
        if self.config.data not in SMALL_DATA:
            chosen["data"] = "FOLDER"  # a path would be that of another machine
        return self.train_command({k: x for k, x in chosen.items() if x != _CHOSEN[k]})


def group_runs(runs: Iterable[StoredRun]) -> list[Group]:
    """Group runs of classifiers over seeds; other runs are ignored.

    Raises:
        UserError: A run cannot be read.
    """
    own = [run for run in runs if run.settings["experiment"] == "classification"]
    read = partial(read_result, config_class=ClassificationConfig)
    parts = group_results(own, read, CONFIGS / "image_classification.yaml", set(_CHOSEN))
    return sorted((Group(*part) for part in parts), key=_rank)


def by_task(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Return the groups that differ in their model only, by `Group.task`.

    Of several folders with the same name, only the first is used, as their images may differ.
    """
    tasks: dict[str, list[Group]] = {}
    for group in groups:
        own = tasks.setdefault(group.task, [])
        if not own or own[0].config.data == group.config.data:
            own.append(group)
    return tasks


def _rank(group: Group) -> tuple[object, ...]:
    """Return a group's sort key in tables; the paper's settings come first."""
    config = group.config
    return (
        config.preset == "quick",
        config.data_name,
        len(group.deviations),
        group.task,
        MODELS.index(config.model),
    )
