"""What can be set in the toy tasks; the files of ``configs/toy`` hold the values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.models import MODELS, Shape, find_model, make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.config import (
    Config,
    Count,
    CountOrNone,
    Defaults,
    NonNegative,
    Positive,
    UserError,
    nearest,
    read_yaml,
)
from rl_coordconv.runs.device import DeviceName

Preset = Literal["paper", "quick"]


class ToyConfig(Config):
    """Settings of one network on one task."""

    task: Literal["classification", "rendering", "regression"] = Field(
        description="place to pixel, place to square, or pixel to place"
    )
    split: Literal["uniform", "quadrant"] = Field(
        description="tested on places drawn at random, or on the right lower quarter"
    )
    model: str = Field(
        description="network: " + "; ".join(f"{t}: {', '.join(MODELS[t])}" for t in MODELS)
    )
    preset: Preset = Field(description="the paper's settings, or a short version of them")
    seed: CountOrNone = Field(description="of weights and order of samples")
    inputs: Literal["raw", "normalised", "image"] = Field(
        description="places as whole numbers (the paper's), or from -1 to 1; image for regression"
    )
    loss: Literal["softmax", "sigmoid", "mse"] = Field(
        description="softmax: classification; sigmoid or mse: rendering; mse: regression"
    )
    filter_size: Count = Field(description="of deconvolutions and of rendering convolutions")
    channels: Count = Field(description="what the widths of these are multiplied by")
    n_epochs: Count = Field(description="passes over the training samples")
    batch_size: Count = Field(description="samples per update")
    learning_rate: Positive = Field(description="step size of Adam, at the start")
    learning_rate_schedule: Literal["constant", "step", "linear"] = Field(
        description="step: a tenth after every 200 epochs, four times; linear: down to 0"
    )
    l2: NonNegative = Field(description="weight of the sum of squares of the kernels in the loss")
    canvas: Count = Field(description="pixels along a side of the image")
    square: Count = Field(description="pixels along a side of the square, an odd number")
    eval_freq: Count = Field(description="epochs between evaluations")
    save_freq: Count = Field(description="epochs between checkpoints")
    device: DeviceName = Field(description="auto, cpu, cuda or cuda:N; auto takes a GPU if any")
    num_threads: CountOrNone = Field(description="threads of torch; 0: one per core")
    log_dir: str = Field(description="folder of all runs")

    @property
    def folder(self) -> Path:
        """``<log_dir>/toy/classification-quadrant/coordconv-raw/seed-0``."""
        variant = self.model if self.inputs == "image" else f"{self.model}-{self.inputs}"
        if self.preset == "quick":
            variant += "-quick"
        return Path(self.log_dir, "toy", f"{self.task}-{self.split}", variant, f"seed-{self.seed}")

    @property
    def shape(self) -> Shape:
        """The settings that the network depends on."""
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
                    f"--{name} {value} does not go with {self.task}; take {' or '.join(known)}."
                )
        split(self.split, self.canvas, self.square)
        with torch.device("meta"):  # whether it can be built, without building it
            make_model(self.task, self.model, self.shape)
        return self


def find_defaults(folder: Path, flags: Mapping[str, str]) -> Defaults:
    """The settings that go with a task, a model and a preset.

    A file of ``configs/toy`` holds the settings that all models share under ``all``, those of each
    model under its name and ``paper``, and what its quick version changes under ``quick``.

    Args:
        folder: Where these files lie.
        flags: ``task``, ``split``, ``model`` and ``preset``, and ``config``, where given.

    Raises:
        UserError: There is no such task, model or preset, or the file is not of this kind.
    """
    chosen = dict(task="classification", split="quadrant", model="coordconv", preset="paper")
    chosen |= {key: flags[key] for key in chosen if key in flags}
    task, model, preset = chosen["task"], chosen["model"], chosen["preset"]
    find_model(task, model)
    if preset not in get_args(Preset):
        raise UserError(f"There is no preset {preset!r}; {nearest(preset, get_args(Preset))}")
    file = Path(str(flags.get("config", folder / f"{task}.yaml")))
    blocks = read_yaml(file)
    try:
        values = {**blocks["all"], **blocks[model]["paper"]}
        if preset == "quick":
            values |= blocks[model]["quick"]
    except (KeyError, TypeError):
        raise UserError(f"{file} holds no {preset} settings of {model}.") from None
    return Defaults(file, values | chosen)
