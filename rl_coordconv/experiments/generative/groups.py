"""Runs of the GAN and the VAE, grouped over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig, VAEConfig
from rl_coordconv.experiments.generative.names import GANModel, VAEModel
from rl_coordconv.runs import reports
from rl_coordconv.runs.reports import Result, group_results, read_result
from rl_coordconv.runs.stored import StoredRun

MODELS = {"gan": get_args(GANModel), "vae": get_args(VAEModel)}
"""Models in the order of tables, by experiment."""

_CONFIGS: dict[str, type[GenerativeConfig]] = {"gan": GANConfig, "vae": VAEConfig}

ImageSettings = tuple[str, int, int]
"""A preset, the width and height of the images in pixels, and the number of training images."""


@dataclass(frozen=True)
class Group(reports.Group[Result[GenerativeConfig]]):
    """Runs that differ only in their seed: one row of each table."""

    @property
    def config(self) -> GenerativeConfig:
        """The settings of the first seed."""
        return self.results[0].config

    @property
    def tanh(self) -> str:
        """The GAN's setting ``tanh``; a dash for a VAE."""
        return self.config.tanh if isinstance(self.config, GANConfig) else "-"

    @property
    def name(self) -> str:
        """The model, and settings other than ``tanh`` that differ from the preset's."""
        others = {key: value for key, value in self.deviations.items() if key != "tanh"}
        return ", ".join([self.config.model, *reports.words(others)])

    @property
    def label(self) -> str:
        """The name, and ``tanh`` if it differs from the preset's."""
        changed = "tanh" in self.deviations
        return f"{self.name}, tanh {self.tanh}" if changed else self.name

    @property
    def image_settings(self) -> ImageSettings:
        """The settings that determine the training images, and the preset."""
        return self.config.preset, self.config.canvas, self.config.n_images

    @property
    def image_deviations(self) -> dict[str, Any]:
        """The settings of `image_settings` that differ from the preset's."""
        return {k: value for k, value in self.deviations.items() if k in ("canvas", "n_images")}

    @property
    def command(self) -> str:
        """The command that trains the first seed."""
        chosen = self.config.model_dump(include={"model", "preset"})
        if self.config.preset == "quick":
            del chosen["preset"]
        return self.train_command(chosen)


def shows_objects(settings: Mapping[str, Any]) -> bool:
    """Return whether a run trained the GAN or the VAE on images of two objects."""
    return settings["experiment"] in MODELS and not settings["data"]


def group_runs(runs: Iterable[StoredRun]) -> list[Group]:
    """Group runs on images of two objects over seeds; other runs are ignored.

    Raises:
        UserError: A run cannot be read.
    """
    wanted = [run for run in runs if shows_objects(run.settings)]
    groups = []
    for experiment, config in _CONFIGS.items():
        own = [run for run in wanted if run.settings["experiment"] == experiment]
        read = partial(read_result, config_class=config)
        defaults = CONFIGS / f"{experiment}.yaml"
        groups += [Group(*part) for part in group_results(own, read, defaults, {"model", "preset"})]
    return sorted(groups, key=_rank)


def by_experiment(groups: Iterable[Group]) -> dict[str, list[Group]]:
    """Return the groups of each experiment that has any."""
    parts: dict[str, list[Group]] = {}
    for group in groups:
        parts.setdefault(group.config.experiment, []).append(group)
    return parts


def _rank(group: Group) -> tuple[object, ...]:
    """Return a group's sort key in tables; a preset's own images come first."""
    config = group.config
    return (
        list(MODELS).index(config.experiment),
        config.preset == "quick",
        bool(group.image_deviations),
        group.image_settings,
        MODELS[config.experiment].index(config.model),
        len(group.deviations),
    )
