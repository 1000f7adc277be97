"""Settings of the classifiers; ``configs/image_classification.yaml`` has the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.image_classification.names import (
    ClassificationModel,
    DataSource,
    Precision,
    Schedule,
)
from rl_coordconv.runs.config import (
    Count,
    NonNegativeFloat,
    NonNegativeInt,
    Positive,
    SmallCount,
    resolve_path,
)
from rl_coordconv.runs.presets import PRESET_HELP, Preset, PresetConfig

SMALL_DATA: tuple[str, ...] = get_args(DataSource)
"""Names of the built-in data, which needs no files."""

MOVES_CLASS = "quadrants"
"""The data whose classes are positions, so that images must not be shifted."""


_SHARES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4)  # of the size of validation images


def _resolve_others(text: str, info: ValidationInfo) -> str:
    """Resolve a path, but not a name."""
    return text if text in (*SMALL_DATA, "DEFAULT") else resolve_path(text, info)


_NameOrPath = Annotated[str, AfterValidator(_resolve_others)]


class ClassificationConfig(PresetConfig):
    """Settings for training one classifier."""

    folder_settings = frozenset({"model", "preset", "data", "backbone"})

    experiment: Literal["classification"] = "classification"
    model: ClassificationModel = Field(
        description="plain: the network itself; the others put one more layer in front of it"
    )
    preset: Preset = Field(description=PRESET_HELP)
    data: _NameOrPath = Field(
        description=f"{', '.join(SMALL_DATA)}, or a folder with train/CLASS/ and val/CLASS/"
    )
    backbone: str = Field(description="name of a classifier in torchvision or timm")
    weights: _NameOrPath = Field(
        description="initial weights: DEFAULT for published ones, or a file; empty for random ones"
    )
    size: SmallCount = Field(description="width and height of the images, in pixels")
    shift: NonNegativeInt = Field(
        description="largest random shift of training images, in pixels, in each direction"
    )
    batch_size: Count = Field(description="images per update, over all processes")
    learning_rate: Positive = Field(description="initial learning rate of SGD")
    learning_rate_schedule: Schedule = Field(
        description="step: divide by 10 after each third of the epochs; or cosine, or constant"
    )
    weight_decay: NonNegativeFloat = Field(description="weight decay of SGD")
    precision: Precision = Field(
        description="float32, or bfloat16 where torch's autocast allows it"
    )
    workers: NonNegativeInt = Field(description="processes that read images; 0 for none")

    @property
    def folder(self) -> Path:
        """Run folder: ``<log_dir>/classification/digits-resnet18/coordconv-quick/seed-0``."""
        task = f"{self.data_name}-{self.backbone}"
        name = f"{self.model}-quick" if self.preset == "quick" else self.model
        return Path(self.log_dir, self.experiment, task, self.variant(name), f"seed-{self.seed}")

    @property
    def data_name(self) -> str:
        """The name of the data: the last part of a folder's path, with ``folder-`` before it."""
        return self.data if self.data in SMALL_DATA else f"folder-{Path(self.data).name}"

    @property
    def shifts(self) -> list[int]:
        """The shifts of validation images at the end, in pixels."""
        return [] if self.data == MOVES_CLASS else shifts(self.size)

    @property
    def score(self) -> str:
        """The share of validation images whose class has the highest logit."""
        return "val/top1"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.data:
            raise ValueError(
                f"--data must be {', '.join(SMALL_DATA)}, or a folder with train/CLASS/ and"
                " val/CLASS/."
            )
        if self.shift and self.data == MOVES_CLASS:
            raise ValueError(
                f"--shift {self.shift} would move the objects of {MOVES_CLASS} into other classes;"
                " choose other --data."
            )
        return self


def shifts(size: int) -> list[int]:
    """Return the shifts of validation images, in pixels, for a size of the images.

    >>> shifts(32)
    [1, 2, 4, 6, 8]
    """
    return sorted({round(share * size) for share in _SHARES} - {0})
