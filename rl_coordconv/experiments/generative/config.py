"""Settings of the GAN and the VAE; ``configs/gan.yaml`` and ``vae.yaml`` have the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from rl_coordconv.experiments.generative.names import GANModel, VAEModel
from rl_coordconv.experiments.generative.shape import Shape, check_canvas
from rl_coordconv.runs.config import Count, InputText, NonNegativeFloat, Positive, SmallCount
from rl_coordconv.runs.presets import PRESET_HELP, Preset, PresetConfig


class GenerativeConfig(PresetConfig):
    """Settings that the GAN and the VAE share."""

    folder_settings = frozenset({"model", "preset", "data"})

    model: str
    preset: Preset = Field(description=PRESET_HELP)
    data: InputText = Field(
        description="folder of images to learn; empty for images of two coloured objects"
    )
    n_images: Count = Field(
        description="number of images of two objects, or most to read from a folder"
    )
    canvas: SmallCount = Field(
        description="width and height of the images in pixels, a power of 2, at least 16"
    )
    latent_size: SmallCount = Field(description="number of latent variables")
    channels: SmallCount = Field(
        description="channels of the largest feature maps; other layers have multiples of it"
    )
    batch_size: Count = Field(description="images per update")
    learning_rate: Positive = Field(description="learning rate of Adam")

    @property
    def folder(self) -> Path:
        """Run folder, such as ``<log_dir>/gan/two-objects/coordconv-quick/seed-0``."""
        task = Path(self.data).resolve().name if self.data else "two-objects"
        name = f"{self.model}-quick" if self.preset == "quick" else self.model
        return Path(self.log_dir, self.experiment, task, self.variant(name), f"seed-{self.seed}")

    @property
    def shape(self) -> Shape:
        """The settings that determine the size of the networks."""
        return Shape(self.canvas, self.latent_size, self.channels)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_canvas(self.canvas)
        if not self.data and self.n_images < self.batch_size:
            raise ValueError(
                f"--n-images {self.n_images} must be at least --batch-size {self.batch_size}."
            )
        return self


class GANConfig(GenerativeConfig):
    """Settings for training one GAN."""

    experiment: Literal["gan"] = "gan"
    model: GANModel = Field(description="networks; conv has no coordinates")
    learning_rate: Positive = Field(description="learning rate of the generator's Adam")
    discriminator_learning_rate: Positive = Field(
        description="learning rate of the discriminator's Adam"
    )
    beta_1: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="decay rate of the mean of gradients in Adam"
    )
    tanh: Literal["fair", "paper"] = Field(
        description="CoordConv's discriminator sees images after tanh (fair), or before it, as in"
        " the authors' code (paper)"
    )

    @property
    def score(self) -> str:
        """Coverage of positions; for a folder, the distance to the nearest image."""
        return "samples/nearest_real" if self.data else "samples/coverage"

    @property
    def lower_is_better(self) -> bool:
        """Whether lower scores are better, as for distances."""
        return bool(self.data)


class VAEConfig(GenerativeConfig):
    """Settings for training one VAE."""

    experiment: Literal["vae"] = "vae"
    model: VAEModel = Field(description="decoder; conv has no coordinates")
    beta: NonNegativeFloat = Field(description="weight of the divergence from the prior")

    @property
    def score(self) -> str:
        """Share of good frames in the middle of walks; for a folder, the loss on test images."""
        return "test/loss" if self.data else "walk/middle_good"

    @property
    def lower_is_better(self) -> bool:
        """Whether lower scores are better, as for losses."""
        return bool(self.data)
