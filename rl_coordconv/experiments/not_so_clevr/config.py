"""Settings of the toy tasks; ``configs/toy`` has their default values."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.not_so_clevr.names import MODEL_NAMES, check_model
from rl_coordconv.runs.config import (
    Count,
    Defaults,
    NonNegativeFloat,
    Positive,
    SmallCount,
    TrainingConfig,
    read_yaml,
)
from rl_coordconv.runs.presets import PRESET_HELP, Preset, preset_values

if TYPE_CHECKING:
    from rl_coordconv.experiments.not_so_clevr.models import Shape
    from rl_coordconv.experiments.not_so_clevr.tasks import Task


class ToyConfig(TrainingConfig):
    """Settings for training one network on one task."""

    folder_settings = frozenset({"task", "split", "model", "inputs", "preset"})

    experiment: Literal["toy"] = "toy"
    task: Literal["classification", "rendering", "regression"] = Field(
        description="coordinate classification, rendering or regression"
    )
    split: Literal["uniform", "quadrant"] = Field(
        description="test positions: random, or the lower right quadrant"
    )
    model: str = Field(
        description="network: "
        + "; ".join(f"{task}: {', '.join(models)}" for task, models in MODEL_NAMES.items())
    )
    preset: Preset = Field(description=PRESET_HELP)
    inputs: Literal["raw", "normalised", "image"] = Field(
        description="raw: integers, as in the paper; normalised: in [-1, 1]; image: for regression"
    )
    loss: Literal["softmax", "sigmoid", "mse"] = Field(
        description="softmax for classification; sigmoid or mse for rendering; mse for regression"
    )
    filter_size: SmallCount = Field(
        description="kernel size of deconvolutions and of rendering convolutions"
    )
    channels: SmallCount = Field(description="width multiplier")
    batch_size: Count = Field(description="samples per update")
    learning_rate: Positive = Field(description="initial learning rate of Adam")
    learning_rate_schedule: Literal["constant", "step", "linear"] = Field(
        description="step: divide by 10 every 200 epochs, up to four times; linear: decay to 0"
    )
    l2: NonNegativeFloat = Field(
        description="L2 penalty: weight of the sum of squared kernels in the loss"
    )
    canvas: SmallCount = Field(description="width and height of the image, in pixels")
    square: SmallCount = Field(description="width and height of the square in pixels, odd")

    @property
    def folder(self) -> Path:
        """Run folder, such as ``<log_dir>/toy/classification-quadrant/coordconv-raw/seed-0``."""
        name = self.model if self.inputs == "image" else f"{self.model}-{self.inputs}"
        if self.preset == "quick":
            name += "-quick"
        task, variant = f"{self.task}-{self.split}", self.variant(name)
        return Path(self.log_dir, "toy", task, variant, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        """Name of the task's main metric on the test samples."""
        return f"test/{self._task.metric}"

    @property
    def lower_is_better(self) -> bool:
        """Whether lower scores are better, as for distances."""
        return self._task.lower_is_better

    @property
    def shape(self) -> Shape:
        """The settings that determine the network."""
        from rl_coordconv.experiments.not_so_clevr.models import Shape

        return Shape(self.split, self.canvas, self.filter_size, self.channels)

    @property
    def _task(self) -> Task:
        # Imported here because it imports torch, which --help does not need.
        from rl_coordconv.experiments.not_so_clevr.tasks import TASKS

        return TASKS[self.task]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        from rl_coordconv.experiments.not_so_clevr.data import split

        task = self._task
        for name, value, known in (
            ("inputs", self.inputs, task.inputs),
            ("loss", self.loss, task.losses),
        ):
            if value not in known:
                raise ValueError(
                    f"--{name} {value} does not work with {self.task}; use {' or '.join(known)}."
                )
        split(self.split, self.canvas, self.square)
        _check_shape(self.task, self.model, self.shape)
        return self

    @classmethod
    def find_defaults(cls, path: Path, flags: Mapping[str, object]) -> Defaults:
        """Return the default settings of a task, model and preset.

        Each task has a file with the settings that all models share under ``all``. Under its name,
        each model has settings under ``paper`` and those that the quick preset changes under
        ``quick``.

        Args:
            path: The folder ``configs/toy``.
            flags: Values of ``task``, ``split``, ``model``, ``preset`` and ``config``, where given.
                Settings in the file ``config`` override the preset's.

        Raises:
            UserError: The task, model or preset is unknown, or the file has no settings for it.
        """
        chosen = dict(task="classification", split="quadrant", model="coordconv", preset="paper")
        own = Defaults(path, {}).overridden_by(flags.get("config")).values
        chosen |= {key: str(value) for key, value in {**own, **flags}.items() if key in chosen}
        task, model, preset = chosen["task"], chosen["model"], chosen["preset"]
        check_model(task, model)
        file = path / f"{task}.yaml"
        blocks = read_yaml(file)
        values = preset_values(f"{file}: {model}", blocks.get(model), preset)
        values = {**blocks.get("all", {}), **values}
        return Defaults(file, values | chosen).overridden_by(flags.get("config"))


@functools.cache  # the runs of a study have few shapes
def _check_shape(task: str, model: str, shape: Shape) -> None:
    """Build a network, to raise an error if the model does not support this shape."""
    import torch

    from rl_coordconv.experiments.not_so_clevr.models import build_model

    # Not on the device "meta", whose additional imports in torch take seconds.
    with torch.random.fork_rng(devices=[]):
        build_model(task, model, shape)
