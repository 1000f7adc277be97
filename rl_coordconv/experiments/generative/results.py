"""The measures in tables, ours beside the paper's."""

from __future__ import annotations

from rl_coordconv.experiments.generative.config import GenerativeConfig
from rl_coordconv.experiments.generative.paper import ENTROPIES, WALKS
from rl_coordconv.runs.closing import Measure


def measures(config: GenerativeConfig) -> list[Measure]:
    """Return the measures of a run, in the order of tables."""
    if config.data:
        return [Measure("distance to the nearest real image", "samples/nearest_real", "{:.3f}")]
    return object_measures(config.experiment, config.model)


def object_measures(experiment: str, model: str) -> list[Measure]:
    """Return the measures of a run on images of two objects, in the order of tables."""
    is_gan = experiment == "gan"
    paper = ENTROPIES.get(model, {}) if is_gan else {}
    walks = "-" if is_gan else WALKS.get(model, "-")
    entropies = [
        Measure(f"entropy, {label}", f"samples/entropy_{kind}", "{:.2f}", paper.get(kind, "-"))
        for kind, label in (("red", "red"), ("blue", "blue"), ("difference", "blue - red"))
    ]
    of_vae = [
        Measure("reconstructions with both objects", "test/good", "{:.1%}"),
        Measure("reconstruction loss", "test/reconstruction", "{:,.1f}"),
        Measure("divergence from the prior", "test/divergence", "{:.1f}"),
    ]
    return [
        *([] if is_gan else of_vae),
        Measure("samples with both objects", "samples/good", "{:.1%}"),
        Measure("position cells covered", "samples/coverage", "{:.1%}"),
        *entropies,
        Measure("distance to the nearest real image", "samples/nearest_real", "{:.3f}"),
        Measure("walks, frames with both objects", "walk/good", "{:.1%}", walks),
        Measure("walks, middle frames with both", "walk/middle_good", "{:.1%}"),
        Measure("walks, straightness", "walk/straightness", "{:.2f}"),
        Measure("walks, evenness", "walk/evenness", "{:.2f}"),
        Measure("pixel walks, frames with both objects", "pixel_walk/good", "{:.1%}"),
        Measure("pixel walks, middle frames with both", "pixel_walk/middle_good", "{:.1%}"),
    ]
