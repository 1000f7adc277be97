"""Pictures of the report: learning curves, and samples and walks of several models."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from rl_coordconv.experiments.generative.data import scale
from rl_coordconv.experiments.generative.figures import grid, side_by_side
from rl_coordconv.experiments.generative.groups import Group
from rl_coordconv.experiments.generative.learner import GenerativeLearner
from rl_coordconv.experiments.generative.results import object_measures
from rl_coordconv.experiments.generative.train import load_learner, read_images
from rl_coordconv.runs.checkpoint import rng_untouched
from rl_coordconv.runs.curves import Curve, draw_curves
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.results import BLUE, GREEN, ORANGE, SKY_BLUE, VERMILION

COLOURS = {
    "conv": BLUE,
    "coordconv": VERMILION,
    "coordconv-g": ORANGE,
    "coordconv-zeros": SKY_BLUE,
    "coordconv-noise": GREEN,
}
_N_SAMPLES = 12  # per model


def curves(groups: Sequence[Group]) -> Figure:
    """Draw the main metric of one experiment over updates, with a line per seed.

    Args:
        groups: The experiment's groups, at least one; each preset gets a panel.
    """
    panels: dict[str, list[Curve]] = {}
    for group in groups:
        title = f"{group.config.experiment.upper()}, {group.config.preset} preset"
        colour, dash = COLOURS[group.config.model], "--" if group.deviations else "-"
        curves = [Curve(group.label, result.rows, colour, dash) for result in group.results]
        panels.setdefault(title, []).extend(curves)
    score = groups[0].config.score
    names = {row.column: row.name for row in object_measures(groups[0].config.experiment, "")}
    figure = draw_curves(panels, score, names[score])
    figure.axes[0].set_ylim(-0.02, 1.02)  # shared by all panels
    figure.axes[0].yaxis.set_major_formatter("{x:.0%}")
    return figure


@rng_untouched()
def from_weights(experiment: str, groups: Sequence[Group]) -> dict[str, Figure | Tensor]:
    """Draw samples of all models, and walks of the one without and with coordinates.

    The first seed of each model is shown, so none is chosen by its looks.

    Args:
        experiment: ``gan`` or ``vae``.
        groups: The experiment's groups, at least one, of run folders with weights.

    Returns:
        A figure per preset, and the frames of an animation per preset with both models, by file
        name without suffix.
    """
    drawn: dict[str, Figure | Tensor] = {}
    for preset in sorted({group.config.preset for group in groups}):
        own = [group for group in groups if group.config.preset == preset]
        ending = f"{experiment}-{preset}".removesuffix("-quick")
        drawn[f"samples-{ending}"] = _samples(own)
        if pair := _pair(own):
            walks = {group.config.model: _load(group).walks()[0] for group in pair}
            drawn[f"walks-{ending}"] = side_by_side(walks)
    return drawn


def _load(group: Group) -> GenerativeLearner:
    first = group.results[0]
    return load_learner(first.config, Run(first.run.folder), *read_images(first.config))


def _samples(groups: Sequence[Group]) -> Figure:
    """Draw a row of samples per group, below a row of real images."""
    rows = {"data": scale(read_images(groups[0].config)[1][:_N_SAMPLES])}
    for group in groups:
        rows[group.label] = _load(group).prior_samples(_N_SAMPLES)
    figure = Figure(figsize=(9, len(rows)), dpi=100, layout="constrained")
    panels = figure.subplots(len(rows), 1)
    for axes, (name, images) in zip(panels, rows.items(), strict=True):
        axes.imshow(grid(images, _N_SAMPLES).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, loc="left", fontsize="small")
    return figure


def _pair(groups: Sequence[Group]) -> list[Group]:
    """Return the first groups without and with coordinates of equal settings; none if missing."""
    for conv in groups:
        for coordconv in groups:
            models = conv.config.model, coordconv.config.model
            equal = (
                conv.image_settings == coordconv.image_settings
                and conv.deviations == coordconv.deviations
            )
            if models == ("conv", "coordconv") and equal:
                return [conv, coordconv]
    return []
