"""Judge an agent: scores of whole games, a film, and what its coordinates do."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_coordconv.envs.atari import Protocol, game_name
from rl_coordconv.experiments.atari.agents import Agent, load_agent
from rl_coordconv.experiments.atari.callbacks import EVALUATION_COLUMNS
from rl_coordconv.experiments.atari.explain import explain
from rl_coordconv.experiments.atari.play import Games, play
from rl_coordconv.experiments.atari.video import (
    FRAMES_PER_SECOND,
    film,
    final_score,
    require_encoder,
    write_gif,
    write_mp4,
)
from rl_coordconv.runs.config import UserError, flag
from rl_coordconv.runs.files import disk_errors, rows_until, write_rows
from rl_coordconv.runs.folder import Run, lock


def evaluate(options: Namespace) -> int:
    """Do what the flags of ``scripts/evaluate.py`` ask for, and return the exit code.

    Scores of a run's agent in its own game go into the run's ``evaluations.csv``, films and figures
    into its folder; those of any other agent into the folder where the command is given.

    Raises:
        UserError: The flags ask for something impossible.
    """
    for name in ("episodes", "n_envs", "best_of"):
        if getattr(options, name) < 1:
            raise UserError(f"{flag(name)} must be at least 1.")
    if options.seed < 0:
        raise UserError("--seed must be at least 0.")
    if options.video:
        require_encoder()
    if options.best_of > 1 and not (options.video or options.gif):
        raise UserError("--best-of goes with --video or --gif.")
    agent = load_agent(
        options.agent,
        checkpoint=options.checkpoint,
        algo=options.algo,
        trust=options.trust,
        device=options.device,
    )
    game, protocol = _game_and_protocol(agent, options)
    console = Console()
    how: dict[str, Any] = {
        "protocol": protocol,
        "deterministic": options.deterministic,
        "seed": options.seed,
    }
    folder = agent.run.folder if agent.run else Path.cwd()
    with disk_errors(folder):
        if options.explain:
            several = {"n_envs": options.n_envs, "console": console, **how}
            explain(agent.model, game, options.episodes, folder / "figures", **several)
        if options.video or options.gif:
            _film(agent, game, folder, options, how)
        if not (options.explain or options.video or options.gif):
            _score(agent, game, options, how, console)
    return 0


def _score(
    agent: Agent, game: str, options: Namespace, how: dict[str, Any], console: Console
) -> None:
    games = play(agent.model, game, options.episodes, n_envs=options.n_envs, console=console, **how)
    policy = "deterministic" if options.deterministic else "stochastic"
    step = agent.model.num_timesteps
    title = f"{game}, {how['protocol']}, {policy}, agent of step {step:,}"
    console.print(scores_table(games, title))
    if not (agent.run and agent.config):
        return
    if game != game_name(agent.config.env):
        console.print(f"Not kept: the run's game is {agent.config.env}.")
        return
    try:
        store(agent.run, step, games, how["protocol"], policy, options.seed)
        console.print(f"Added to {agent.run.evaluations}")
    except UserError as error:  # a training writes there
        console.print(f"Not kept: {error}")


def _game_and_protocol(agent: Agent, options: Namespace) -> tuple[str, Protocol]:
    if agent.config:
        game = options.env or agent.config.env
        protocol: Protocol = options.protocol or agent.config.protocol
    elif options.env:
        game, protocol = options.env, options.protocol or "classic"
    else:
        raise UserError("Which game does this agent play? Name it with --env.")
    return game_name(game), protocol


def _film(agent: Agent, game: str, folder: Path, options: Namespace, how: dict[str, Any]) -> None:
    scores = {
        seed: final_score(film(agent.model, game, **{**how, "seed": seed}))
        for seed in range(options.seed, options.seed + options.best_of)
    }
    best = max(scores, key=scores.__getitem__)
    title = f"{game} {agent.config.extractor}" if agent.config else game
    for wanted, write, path in (
        (options.video, write_mp4, folder / "video.mp4"),
        (options.gif, write_gif, folder / "video.gif"),
    ):
        if wanted:
            write(film(agent.model, game, **{**how, "seed": best}), path, title)
            print(f"Score {scores[best]:,.0f}: {path}")


def store(run: Run, step: int, games: Games, protocol: str, policy: str, seed: int) -> None:
    """Add games to the run's ``evaluations.csv``; the same evaluation's earlier games go.

    Args:
        run: The run's folder.
        step: Of the agent.
        games: What it played.
        protocol: By which protocol.
        policy: ``stochastic`` or ``deterministic``.
        seed: Of the games.

    Raises:
        UserError: A training is writing there.
    """
    how = {"step": str(step), "protocol": protocol, "policy": policy, "seed": str(seed)}
    played = [
        {**how, "game": i, "episode_return": episode_return, "length_frames": frames}
        for i, (episode_return, frames) in enumerate(zip(games.returns, games.frames, strict=True))
    ]
    with lock(run.folder):
        rows = rows_until(run.evaluations, "step", math.inf)
        others = [row for row in rows if {key: row.get(key) for key in how} != how]
        write_rows(run.evaluations, EVALUATION_COLUMNS, [*others, *played])


def scores_table(games: Games, title: str) -> Table:
    """What came out, for the terminal."""
    frames = float(np.mean(games.frames))
    table = Table(title=title, show_header=False)
    table.add_row("games", f"{len(games.returns)}")
    table.add_row("mean score", f"{np.mean(games.returns):,.1f}")
    if len(games.returns) > 1:
        low, high = games.interval()
        table.add_row("95% interval of the mean", f"{low:,.1f} to {high:,.1f}")
    table.add_row("median score", f"{np.median(games.returns):,.1f}")
    table.add_row("best score", f"{max(games.returns):,.0f}")
    table.add_row("mean length", f"{frames:,.0f} frames ({frames / FRAMES_PER_SECOND:,.0f} s)")
    return table
