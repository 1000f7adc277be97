"""Make the tables and figures of ``docs/generative.md`` and ``docs/results/generative``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from rl_coordconv.experiments.generative import pictures
from rl_coordconv.experiments.generative.data import scale
from rl_coordconv.experiments.generative.groups import (
    Group,
    ImageSettings,
    by_experiment,
    group_runs,
    shows_objects,
)
from rl_coordconv.experiments.generative.metrics import sample_metrics
from rl_coordconv.experiments.generative.results import object_measures
from rl_coordconv.experiments.generative.train import make_learner, read_images
from rl_coordconv.runs.checkpoint import rng_untouched
from rl_coordconv.runs.reports import Report, words
from rl_coordconv.runs.results import Line, table_of_lines
from rl_coordconv.runs.stored import has_weights, stored_runs

_PAPER = "paper: entropy of red / blue / blue - red"
# Pictures by their marker in the pages, with their descriptions.
_PICTURES = {
    "pictures-gan": {
        "results/generative/samples-gan.png": "Real images, and samples of each GAN",
        "results/generative/walks-gan.gif": "Walks of the GAN without coordinates, and with them",
        "results/generative/samples-gan-paper.png": "Samples at the paper's size",
        "results/generative/walks-gan-paper.gif": "Walks at the paper's size",
    },
    "pictures-vae": {
        "results/generative/samples-vae.png": "Real images, and samples of each VAE",
        "results/generative/walks-vae.gif": "Walks of the VAE without coordinates, and with them",
        "results/generative/samples-vae-paper.png": "Samples at the paper's size",
        "results/generative/walks-vae-paper.gif": "Walks at the paper's size",
    },
    "curves": {
        "gan.png": "GAN: share of position cells covered, by update",
        "vae.png": "VAE: share of middle frames with both objects, by update",
    },
}


def tables(groups: Sequence[Group]) -> dict[str, str]:
    """Return every table of the pages in Markdown, by name."""
    real = {group.image_settings: group for group in groups}
    data = {images: data_metrics(group) for images, group in real.items()}
    walks = ["samples/coverage", "walk", "pixel_walk"]  # a collapsed model's walks are perfect
    return {
        "gan": metrics_table("gan", ["samples"], groups, data),
        "gan-walks": metrics_table("gan", walks, groups),
        "vae": metrics_table("vae", ["test", "samples"], groups, data),
        "vae-walks": metrics_table("vae", walks, groups),
        "runs": runs_table(groups),
    }


def data_metrics(group: Group) -> dict[str, float]:
    """Return metrics of test images as if a model had made them, by column of its progress."""
    training, test = read_images(group.config)
    metrics = sample_metrics(scale(test), training)
    return {f"samples/{name}": value for name, value in metrics.items()}


def metrics_table(
    experiment: str,
    parts: Sequence[str],
    groups: Sequence[Group],
    data: Mapping[ImageSettings, Mapping[str, float]] | None = None,
) -> str:
    """Return a table of metrics at the last evaluation: mean (min to max) over seeds.

    Args:
        experiment: ``gan`` or ``vae``.
        parts: The metrics to show, by their column in ``progress.csv``, or the part before ``/``.
        groups: All groups in the order of tables.
        data: Metrics of real images, which are shown before the models that learn these images.
    """
    columns = [
        measure
        for measure in object_measures(experiment, "")
        if measure.column in parts or measure.column.split("/")[0] in parts
    ]
    lines: list[Line] = []
    own = by_experiment(groups).get(experiment, [])
    for images, block in groupby(own, key=lambda group: group.image_settings):
        models = list(block)
        preset = models[0].config.preset
        if data is not None:
            known = data[images]
            numbers = {
                measure.name: measure.number.format(known[measure.column])
                for measure in columns
                if measure.column in known
            }
            name = ", ".join(["data", *words(models[0].image_deviations)])
            paper = _paper_entropies("data")
            lines.append({"model": name, "preset": preset, _PAPER: paper, **numbers})
        for group in models:
            numbers = {
                measure.name: group.spread(measure.column, measure.number) for measure in columns
            }
            paper = _paper_entropies(group.config.model)
            lines.append({**_settings(group), _PAPER: paper, **numbers})
    head = ["model", "tanh", "preset"] if experiment == "gan" else ["model", "preset"]
    if experiment == "gan" and data is not None:
        head.append(_PAPER)
    return table_of_lines([*head, *(measure.name for measure in columns), "seeds"], lines)


def _paper_entropies(model: str) -> str:
    values = [
        measure.paper for measure in object_measures("gan", model) if "/entropy_" in measure.column
    ]
    return "-" if "-" in values else " / ".join(values)


def runs_table(groups: Iterable[Group]) -> str:
    """Return a table of commands, times and numbers of parameters."""
    lines = [
        {
            **_settings(group),
            "experiment": group.config.experiment.upper(),
            "command": f"`{group.command}`",
            "updates": group.spread("updates", "{:,.0f}"),
            "seconds": group.seconds,
            "parameters": _parameters(group),
        }
        for group in groups
    ]
    head = "experiment, model, tanh, preset, command, updates, seconds, parameters, seeds"
    return table_of_lines(head.split(", "), lines)


def _settings(group: Group) -> dict[str, str]:
    return {
        "model": group.name,
        "tanh": group.tanh,
        "preset": group.config.preset,
        "seeds": str(len(group.results)),
    }


def _parameters(group: Group) -> str:
    """Return the number of parameters of each network."""
    nothing = torch.empty(0, 3, group.config.canvas, group.config.canvas, dtype=torch.uint8)
    with rng_untouched():
        networks = make_learner(group.config, nothing, nothing).model
    sizes = {
        name: sum(p.numel() for p in network.parameters())
        for name, network in networks.named_children()
    }
    return ", ".join(f"{name} {size:,}" for name, size in sizes.items())


def links(stored: Path) -> dict[str, str]:
    """Return links in Markdown to the pictures in the folder of stored runs, by marker."""
    return {
        place: "\n\n".join(
            f"![{text}]({path})"
            for path, text in texts.items()
            if (stored / Path(path).name).exists()
        )
        for place, texts in _PICTURES.items()
    }


class GenerativeReport(Report):
    """The contents of ``docs/generative.md`` and ``docs/results/generative``."""

    name = "generative"

    def wants(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run trained the GAN or the VAE on images of two objects."""
        return shows_objects(settings)

    def figures(self, stored: Path) -> dict[str, Figure]:
        """Draw the learning curves of the GAN and of the VAE."""
        groups = group_runs(stored_runs(stored, ["progress"]))
        return {name: pictures.curves(own) for name, own in by_experiment(groups).items()}

    def pictures(self, runs: Path) -> dict[str, Figure | Tensor]:
        """Draw samples and walks of the first seed of each model."""
        finished = filter(has_weights, stored_runs(runs, ["progress"]))
        drawn: dict[str, Figure | Tensor] = {}
        for experiment, own in by_experiment(group_runs(finished)).items():
            drawn |= pictures.from_weights(experiment, own)
        return drawn

    def tables(self, stored: Path) -> dict[str, str]:
        """Return all tables, and links to pictures, in Markdown, by name."""
        return tables(group_runs(stored_runs(stored, ["progress"]))) | links(stored)


REPORT = GenerativeReport()
