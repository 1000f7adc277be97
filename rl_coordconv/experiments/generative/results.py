"""What is reported of a GAN or VAE: the rows of tables, ours beside the paper's."""

from __future__ import annotations

from dataclasses import dataclass

from rl_coordconv.experiments.generative.config import GenerativeConfig
from rl_coordconv.experiments.generative.paper import ENTROPIES, WALKS


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        name: Its name in tables.
        column: Its column in ``progress.csv``.
        number: Its format string.
        paper: The paper's value; a dash if there is none.
    """

    name: str
    column: str
    number: str
    paper: str = "-"


def rows(config: GenerativeConfig) -> list[Row]:
    """Return what is reported of a run, in the order of tables."""
    if config.data:
        return [Row("distance to the nearest real image", "samples/nearest_real", "{:.3f}")]
    is_gan = config.experiment == "gan"
    paper = ENTROPIES.get(config.model, {}) if is_gan else {}
    entropies = [
        Row(f"entropy, {label}", f"samples/entropy_{kind}", "{:.2f}", paper.get(kind, "-"))
        for kind, label in (("red", "red"), ("blue", "blue"), ("difference", "blue - red"))
    ]
    of_vae = [
        Row("reconstructions with both objects", "test/good", "{:.1%}"),
        Row("reconstruction loss", "test/reconstruction", "{:,.1f}"),
        Row("divergence from the prior", "test/divergence", "{:.1f}"),
    ]
    return [
        *([] if is_gan else of_vae),
        Row("samples with both objects", "samples/good", "{:.1%}"),
        Row("position cells covered", "samples/coverage", "{:.1%}"),
        *entropies,
        Row("distance to the nearest real image", "samples/nearest_real", "{:.3f}"),
        Row("walks, frames with both objects", "walk/good", "{:.1%}", WALKS.get(config.model, "-")),
        Row("walks, middle frames with both", "walk/middle_good", "{:.1%}"),
        Row("walks, straightness", "walk/straightness", "{:.2f}"),
        Row("walks, evenness", "walk/evenness", "{:.2f}"),
        Row("pixel walks, frames with both objects", "pixel_walk/good", "{:.1%}"),
        Row("pixel walks, middle frames with both", "pixel_walk/middle_good", "{:.1%}"),
    ]
