"""Figures about an agent's use of coordinates: positional maps, and scores without coordinates."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.envs.play import Games
from rl_coordconv.experiments.atari.play import PlaySettings, open_games, play
from rl_coordconv.networks import coordconv_layers
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.results import BLUE, GREY

Ablation = Literal["zeroed", "shuffled"]


def explain(
    model: BaseAlgorithm, settings: PlaySettings, games: Games, path: Path, console: Console
) -> None:
    """Draw ``<path>-coordinates_by_filter.png`` and ``<path>-without_coordinates.png``.

    Args:
        model: The agent.
        settings: How it plays.
        games: Games that it played with these settings. It plays the same number of games, with the
            same seeds, without its coordinates.
        path: The prefix of the figures' paths.
        console: Where to show progress.

    Raises:
        UserError: The agent's network has no coordinates.
    """
    name, layer = first_layer(model)
    x = layer_input(model, layer, watch(model, settings))
    scores = {"as trained": games}
    for ablation in get_args(Ablation):
        agent = without_coordinates(model, ablation)
        scores[f"coordinates {ablation}"] = play(agent, settings, len(games.returns), console)
    figures = {
        "coordinates_by_filter": _maps(layer, x, f"{settings.game}: {name}"),
        "without_coordinates": _bars(scores, f"{settings.game}, {len(games.returns)} games"),
    }
    console.print("Mean score and 95% confidence interval:")
    for variant, played in scores.items():
        low, high = played.interval()
        console.print(f"{variant}: {np.mean(played.returns):,.1f} ({low:,.1f} to {high:,.1f})")
    path.parent.mkdir(exist_ok=True)
    for name, figure in figures.items():
        file = path.with_name(f"{path.name}-{name}.png")
        with atomic_write(file) as temporary:
            figure.savefig(temporary)
        console.print(f"Saved {file}", soft_wrap=True)


def first_layer(model: BaseAlgorithm) -> tuple[str, CoordConv2d]:
    """Return the name and the module of an agent's first CoordConv layer.

    Raises:
        UserError: It has none.
    """
    layers = coordconv_layers(model.policy, controls=False)
    if not layers:
        raise UserError("This agent's network has no coordinates, so there is nothing to explain.")
    return next(iter(layers.items()))


def watch(model: BaseAlgorithm, settings: PlaySettings) -> NDArray[Any]:
    """Play 160 steps of 8 games, and return every tenth observation, ``[128, C, H, W]``.

    The policy is stochastic. The seed is fixed: ``settings.seed`` is ignored.
    """
    seen = []
    with open_games(model, replace(settings, seed=0), n_envs=8, env_seed=0) as env:
        observations = env.reset()
        for step in range(160):
            # Stable-Baselines3 annotates `reset` more widely than what `predict` takes.
            actions, _ = model.predict(observations, deterministic=False)  # type: ignore[arg-type]
            observations, *_ = env.step(actions)
            if step % 10 == 9:
                seen.append(np.array(observations))
    return np.concatenate(seen)


def layer_input(model: BaseAlgorithm, layer: CoordConv2d, observations: NDArray[Any]) -> Tensor:
    """Return the input that a layer of an agent gets for some observations, ``[N, C, H, W]``."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(observations)
    hook.remove()
    return seen[0]


@torch.no_grad()
def response_shares(layer: CoordConv2d, x: Tensor) -> Tensor:
    """Return the share of the coordinates in each filter's response.

    A filter's response is the sum of a part from the pixels and the positional map. The share is
    the map's variance over positions, divided by the sum of both parts' variances.

    Args:
        layer: The layer.
        x: Its inputs, ``[N, C, H, W]``.

    Returns:
        ``[out_channels]``, from 0 to 1; 0 where neither part varies.
    """
    positional_map = layer.positional_map(x.shape[-2:])  # [out, H, W]
    pixels = (layer(x) - positional_map).transpose(0, 1).flatten(1)
    of_map, of_pixels = positional_map.flatten(1).var(dim=1), pixels.var(dim=1)
    return torch.nan_to_num(of_map / (of_map + of_pixels))


def without_coordinates(model: BaseAlgorithm, ablation: Ablation) -> BaseAlgorithm:
    """Return a copy of an agent whose coordinates carry no information, without retraining.

    Args:
        model: The agent, which is not changed.
        ablation: ``zeroed`` sets the coordinate weights to 0. ``shuffled`` permutes the coordinates
            among the pixels, always in the same way; weights and values do not change.
    """
    ablated = copy.copy(model)
    ablated.policy = copy.deepcopy(model.policy)
    for layer in coordconv_layers(ablated.policy, controls=False).values():
        if ablation == "zeroed":
            with torch.no_grad():
                layer.split_weight()[1].zero_()
        else:
            shuffled = partial(_shuffled, layer.make_coordinates)
            # Assign to this object only, which mypy forbids: the original layer is unchanged.
            layer.make_coordinates = shuffled  # type: ignore[method-assign]
    return ablated


def _shuffled(
    make: Callable[..., Tensor], size: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Return a layer's coordinates, shuffled among the pixels."""
    coords = make(size, device=device, dtype=dtype)
    cpu = torch.device("cpu")  # not torch's default device
    generator = torch.Generator(cpu).manual_seed(0)
    order = torch.randperm(coords[0].numel(), generator=generator, device=cpu).to(coords.device)
    return coords.flatten(1)[:, order].view_as(coords)


def _maps(layer: CoordConv2d, x: Tensor, title: str) -> Figure:
    """Draw the positional map and the share of each filter, the largest share first."""
    shares = response_shares(layer, x).cpu()
    maps = layer.positional_map(x.shape[-2:]).detach().cpu()
    largest = float(maps.abs().max()) or 1.0
    columns = 8
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.35 * rows + 0.8), dpi=110, layout="constrained")
    figure.suptitle(f"{title}: positional map of each filter, and its share of the response")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, k in zip(panels, shares.argsort(descending=True).tolist(), strict=False):
        shown = axes.imshow(maps[k].numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set_title(f"{k}: {shares[k]:.0%}", fontsize="small")
    label = "added to the filter's output"
    figure.colorbar(shown, ax=figure.axes, shrink=0.6, aspect=40, label=label)
    return figure


def _bars(scores: Mapping[str, Games], title: str) -> Figure:
    """Draw the mean score of each variant with its 95% CI, and every game as a dot."""
    figure = Figure(figsize=(6, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    jitter = np.random.default_rng(0)
    labels = ["95% confidence interval of the mean", "one game"]
    for i, games in enumerate(scores.values()):
        mean, (low, high) = np.mean(games.returns), games.interval()
        axes.bar(i, mean, color=BLUE if i == 0 else GREY, width=0.6)
        around = [[mean - low], [high - mean]]
        axes.errorbar(i, mean, around, color="black", capsize=6, label=labels[0])
        places = i + jitter.uniform(-0.2, 0.2, len(games.returns))
        axes.plot(places, games.returns, ".k", alpha=0.3, markersize=4, label=labels[1])
        labels = ["", ""]  # one legend entry for all variants
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylabel("mean score")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2)
    return figure
