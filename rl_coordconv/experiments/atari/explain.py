"""What an agent's coordinates do: maps, shares, and scores without them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from rl_coordconv.coordconv import CoordConv2d
from rl_coordconv.envs.atari import Protocol, make_atari_env
from rl_coordconv.experiments.atari.agents import check_fit
from rl_coordconv.experiments.atari.play import Games, play
from rl_coordconv.networks import coordconv_layers
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write

ABLATIONS = ("zeroed", "shuffled")
_BLUE, _GREY = "#0072b2", "#999999"  # told apart by colour-blind people too (Okabe and Ito)


def explain(
    model: BaseAlgorithm,
    game: str,
    n_games: int,
    folder: Path,
    console: Console,
    **how: Any,
) -> None:
    """Draw ``coordinates_by_filter.png`` and ``without_coordinates.png``.

    Args:
        model: The agent.
        game: What it plays.
        n_games: Games per bar of the second figure; the same games for every bar.
        folder: Where the figures go.
        console: Where to show progress.
        **how: The games, as for `play`; ``protocol`` has to be among it.

    Raises:
        UserError: The agent's network has no coordinates.
    """
    layers = coordconv_layers(model.policy, controls=False)
    if not layers:
        raise UserError("This agent's network sees no coordinates, so there is nothing to explain.")
    name, layer = next(iter(layers.items()))
    x = layer_input(model, layer, watch(model, game, how["protocol"]))
    figures = {"coordinates_by_filter": _maps(layer, x, f"{game}: {name}")}
    scores = {"as trained": play(model, game, n_games, console=console, **how)}
    for ablation in ABLATIONS:
        agent = without_coordinates(model, ablation)
        scores[f"coordinates {ablation}"] = play(agent, game, n_games, console=console, **how)
    figures["without_coordinates"] = _bars(scores, f"{game}: mean score of {n_games} games")
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with atomic_write(folder / f"{name}.png") as path:
            figure.savefig(path)
        console.print(f"Drawn: {folder / name}.png")
    for arm, games in scores.items():
        low, high = games.interval()
        console.print(f"{arm}: {np.mean(games.returns):,.0f} ({low:,.0f} to {high:,.0f})")


def watch(model: BaseAlgorithm, game: str, protocol: Protocol) -> NDArray[Any]:
    """What an agent sees in 160 steps of 8 games: every tenth observation, ``[128, C, H, W]``."""
    env = make_atari_env(game, 8, protocol=protocol, training=False, seed=0)
    try:
        check_fit(model, env, game)
        model.set_random_seed(0)
        observations = env.reset()
        seen = []
        for step in range(160):
            # Stable-Baselines3 annotates `reset` more widely than what `predict` takes.
            actions, _ = model.predict(observations, deterministic=False)  # type: ignore[arg-type]
            observations, *_ = env.step(actions)
            if step % 10 == 9:
                seen.append(np.array(observations))
    finally:
        env.close()
    return np.concatenate(seen)


def layer_input(model: BaseAlgorithm, layer: CoordConv2d, observations: NDArray[Any]) -> Tensor:
    """What a layer of an agent sees of observations, ``[N, C, H, W]``."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.predict(observations)
    hook.remove()
    return seen[0]


@torch.no_grad()
def response_shares(layer: CoordConv2d, x: Tensor) -> Tensor:
    """How much of each filter's response comes from the coordinates.

    The response is a sum, of a part that the pixels give and a map that the coordinates give. The
    share is the map's variance over positions, over the sum of both parts' variances.

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


def without_coordinates(model: BaseAlgorithm, ablation: str) -> BaseAlgorithm:
    """A copy of an agent whose coordinates say nothing, without training it anew.

    Args:
        model: The agent; it stays as it is.
        ablation: ``zeroed``: their weights are 0. ``shuffled``: each channel's values are dealt out
            to the pixels at random, once for all, so that weights and values stay as they are.
    """
    ablated = copy.copy(model)
    ablated.policy = copy.deepcopy(model.policy)
    for layer in coordconv_layers(ablated.policy, controls=False).values():
        if ablation == "zeroed":
            with torch.no_grad():
                layer.split_weight()[1].zero_()
        else:
            assert ablation == "shuffled"
            shuffled = partial(_shuffled, layer.make_coordinates)
            # Of this layer alone, so that the class and the agent's own layer stay as they are.
            layer.make_coordinates = shuffled  # type: ignore[method-assign]
    return ablated


def _shuffled(make: Callable[..., Tensor], size: Sequence[int], **where: Any) -> Tensor:
    """A layer's coordinates, dealt out to the pixels at random."""
    coords = make(size, **where)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(coords[0].numel(), generator=generator).to(coords.device)
    return coords.flatten(1)[:, order].view_as(coords)


def _maps(layer: CoordConv2d, x: Tensor, title: str) -> Figure:
    """Each filter's positional map, and its share; the largest share first."""
    shares = response_shares(layer, x).cpu()
    maps = layer.positional_map(x.shape[-2:]).detach().cpu()
    largest = float(maps.abs().max()) or 1.0
    columns = 8
    rows = -(-len(maps) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.35 * rows + 0.8), dpi=110, layout="constrained")
    figure.suptitle(f"{title}: what the coordinates add, filter by filter, and their share")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, k in zip(panels, shares.argsort(descending=True).tolist(), strict=False):
        shown = axes.imshow(maps[k].numpy(), cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes.set_title(f"{k}: {shares[k]:.0%}", fontsize="small")
    figure.colorbar(shown, ax=figure.axes, shrink=0.6, aspect=40)
    return figure


def _bars(scores: Mapping[str, Games], title: str) -> Figure:
    """The mean score of each arm, with its 95% interval, and every game as a dot."""
    figure = Figure(figsize=(6, 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    jitter = np.random.default_rng(0)
    for i, games in enumerate(scores.values()):
        mean, (low, high) = np.mean(games.returns), games.interval()
        axes.bar(i, mean, color=_BLUE if i == 0 else _GREY, width=0.6)
        axes.errorbar(i, mean, [[mean - low], [high - mean]], color="black", capsize=6)
        places = i + jitter.uniform(-0.2, 0.2, len(games.returns))
        axes.plot(places, games.returns, ".", color="black", alpha=0.3, markersize=4)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylabel("raw score")
    axes.set_title(title)
    return figure
