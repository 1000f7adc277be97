"""What is reported of a GAN or VAE: the rows of tables, ours beside the paper's."""

from __future__ import annotations

from rl_coordconv.experiments.generative.config import GenerativeConfig
from rl_coordconv.experiments.generative.paper import ENTROPIES, WALKS
from rl_coordconv.runs.closing import Row


def rows(config: GenerativeConfig) -> list[Row]:
    """Return what is reported of a run, in the order of tables."""
    if config.data:
        return [Row("distance to the nearest real image", "samples/nearest_real", "{:.3f}")]
    return object_rows(config.experiment, config.model)


def object_rows(experiment: str, model: str) -> list[Row]:
    """Return what is reported of a run on images of two objects, in the order of tables."""
    is_gan = experiment == "gan"
    paper = ENTROPIES.get(model, {}) if is_gan else {}
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
        Row("walks, frames with both objects", "walk/good", "{:.1%}", WALKS.get(model, "-")),
        Row("walks, middle frames with both", "walk/middle_good", "{:.1%}"),
        Row("walks, straightness", "walk/straightness", "{:.2f}"),
        Row("walks, evenness", "walk/evenness", "{:.2f}"),
        Row("pixel walks, frames with both objects", "pixel_walk/good", "{:.1%}"),
        Row("pixel walks, middle frames with both", "pixel_walk/middle_good", "{:.1%}"),
    ]
