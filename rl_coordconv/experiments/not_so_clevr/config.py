"""The settings of the toy tasks; the files of ``configs/toy`` have the values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.models import MODELS, Shape, build_model, find_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.config import (
    Count,
    Defaults,
    NonNegativeFloat,
    Positive,
    SmallCount,
    UserError,
    nearest,
    read_yaml,
)
from rl_coordconv.runs.training import TrainingConfig

Preset = Literal["paper", "quick"]


class ToyConfig(TrainingConfig):
    """Settings of one network on one task."""

    folder_settings = frozenset({"task", "split", "model", "inputs", "preset"})

    experiment: Literal["toy"] = "toy"
    task: Literal["classification", "rendering", "regression"] = Field(
        description="coordinate classification, rendering or regression"
    )
    split: Literal["uniform", "quadrant"] = Field(
        description="tested on random places, or on the lower right quarter"
    )
    model: str = Field(
        description="network: " + "; ".join(f"{t}: {', '.join(MODELS[t])}" for t in MODELS)
    )
    preset: Preset = Field(description="the paper's settings, or a short version of them")
    inputs: Literal["raw", "normalised", "image"] = Field(
        description="coordinates as whole numbers (the paper's) or in [-1, 1]; image: regression"
    )
    loss: Literal["softmax", "sigmoid", "mse"] = Field(
        description="softmax: classification; sigmoid or mse: rendering; mse: regression"
    )
    filter_size: SmallCount = Field(
        description="kernel size of deconvolutions and of rendering convolutions"
    )
    channels: SmallCount = Field(description="width multiplier")
    batch_size: Count = Field(description="samples per update")
    learning_rate: Positive = Field(description="initial step size of Adam")
    learning_rate_schedule: Literal["constant", "step", "linear"] = Field(
        description="step: a tenth after every 200 epochs, four times; linear: down to 0"
    )
    l2: NonNegativeFloat = Field(
        description="weight of the sum of squares of the kernels in the loss"
    )
    canvas: SmallCount = Field(description="side of the image in pixels")
    square: SmallCount = Field(description="side of the square in pixels, an odd number")

    @property
    def folder(self) -> Path:
        """``<log_dir>/toy/classification-quadrant/coordconv-raw/seed-0``."""
        name = self.model if self.inputs == "image" else f"{self.model}-{self.inputs}"
        if self.preset == "quick":
            name += "-quick"
        task, variant = f"{self.task}-{self.split}", self.variant(name)
        return Path(self.log_dir, "toy", task, variant, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        """The main metric of the task over the test samples."""
        return f"test/{TASKS[self.task].metric}"

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is a distance."""
        return TASKS[self.task].lower_is_better

    @property
    def shape(self) -> Shape:
        """The settings that determine the network."""
        return Shape(self.split, self.canvas, self.filter_size, self.channels)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        task = TASKS[self.task]
        for name, value, known in (
            ("inputs", self.inputs, task.inputs),
            ("loss", self.loss, task.losses),
        ):
            if value not in known:
                raise ValueError(
                    f"--{name} {value} does not go with {self.task}; choose {' or '.join(known)}."
                )
        split(self.split, self.canvas, self.square)
        # Not on the device "meta", for which torch imports for seconds.
        with torch.random.fork_rng(devices=[]):
            build_model(self.task, self.model, self.shape)
        return self

    @classmethod
    def find_defaults(cls, path: Path, flags: Mapping[str, object]) -> Defaults:
        """Return the settings that go with a task, a model and a preset.

        A file has the settings that all models share under ``all``, those of each model under its
        name and ``paper``, and what its short version changes under ``quick``.

        Args:
            path: The folder ``configs/toy``.
            flags: ``task``, ``split``, ``model``, ``preset`` and ``config``, where given; the file
                of ``config`` has settings too, which override the preset's.

        Raises:
            UserError: There is no such task, model or preset, or the file is of another kind.
        """
        chosen = dict(task="classification", split="quadrant", model="coordconv", preset="paper")
        own = Defaults(path, {}).overridden_by(flags.get("config")).values
        chosen |= {key: str(value) for key, value in {**own, **flags}.items() if key in chosen}
        task, model, preset = chosen["task"], chosen["model"], chosen["preset"]
        find_model(task, model)
        if preset not in get_args(Preset):
            raise UserError(f"There is no preset {preset!r}; {nearest(preset, get_args(Preset))}")
        file = path / f"{task}.yaml"
        blocks = read_yaml(file)
        try:
            values = {**blocks["all"], **blocks[model]["paper"]}
            if preset == "quick":
                values |= blocks[model]["quick"]
        except (KeyError, TypeError):
            raise UserError(f"{file} has no {preset} settings of {model}.") from None
        return Defaults(file, values | chosen).overridden_by(flags.get("config"))
