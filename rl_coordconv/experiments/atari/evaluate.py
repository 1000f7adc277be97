"""Evaluation of an agent on whole games."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_coordconv.envs.play import GAME_COLUMNS, Games
from rl_coordconv.experiments.atari.agents import Agent
from rl_coordconv.experiments.atari.play import PlaySettings, play
from rl_coordconv.experiments.atari.video import FRAMES_PER_SECOND
from rl_coordconv.runs.files import rows_until, write_rows
from rl_coordconv.runs.folder import InUse, Run, lock

_GAME = set(GAME_COLUMNS) - {"game"}  # columns that are equal for a repeated game
_EVALUATION = _GAME - {"episode_return", "length_frames"}


def evaluate(agent: Agent, settings: PlaySettings, n_games: int, console: Console) -> Games:
    """Play whole games, print the scores, and save them in the agent's run folder.

    The scores are not saved if the agent is not from a run folder, if the game is not the run's, or
    if another process is using the run.

    Args:
        agent: The agent.
        settings: How it plays; ``game`` in the spelling of `game_name`.
        n_games: Number of games.
        console: Where to print.

    Returns:
        The games.

    Raises:
        UserError: The agent does not fit the game.
    """
    games = play(agent.model, settings, n_games, console)
    step = agent.model.num_timesteps
    console.print(scores_table(games, agent, settings))
    if agent.run is None or agent.config is None:
        return games
    if settings.game != agent.config.env:
        console.print(f"Scores not saved: the run's game is {agent.config.env}.")
        return games
    try:
        rows = games.rows(step, settings.protocol, settings.policy, settings.seed, agent.checkpoint)
        save_scores(agent.run, rows)
        console.print(f"Scores saved in {agent.run.evaluations}", soft_wrap=True)
    except InUse as error:
        console.print(f"Scores not saved: {error}", soft_wrap=True)
    return games


def file_name(agent: Agent, settings: PlaySettings) -> str:
    """Return a file name from an agent's checkpoint and step, and any settings unlike its run's.

    Examples: ``final-step-0000100000``, ``best-step-0000050000-sticky-deterministic-seed-7``.
    """
    step = f"step-{agent.model.num_timesteps:010d}"
    usual = agent.config
    parts = [
        (agent.checkpoint, agent.checkpoint != step),
        (step, True),
        (settings.game, usual is None or settings.game != usual.env),
        (settings.protocol, settings.protocol != (usual.protocol if usual else "classic")),
        (settings.policy, settings.deterministic),
        (f"seed-{settings.seed}", settings.seed > 0),
    ]
    return "-".join(part for part, is_shown in parts if is_shown)


def save_scores(run: Run, games: Sequence[Mapping[str, object]]) -> None:
    """Add games to ``evaluations.csv``, except those that it already contains.

    Raises:
        InUse: Another process is using the run.
        UserError: The file is damaged.
    """
    with lock(run.folder):
        old = rows_until(run.evaluations, "step", math.inf)
        new, number = list(games), 0
        for row in old:
            number += _is_same(row, games[0], _EVALUATION)
            if same := [game for game in new if _is_same(row, game, _GAME)]:
                new.remove(same[0])
        numbered = [{**game, "game": i} for i, game in enumerate(new, number)]
        write_rows(run.evaluations, GAME_COLUMNS, [*old, *numbered])


def _is_same(
    row: Mapping[str, object], other: Mapping[str, object], columns: Iterable[str]
) -> bool:
    return all(str(row.get(name, "")) == str(other[name]) for name in columns)


def scores_table(games: Games, agent: Agent, settings: PlaySettings) -> Table:
    """Return the scores as a table for the terminal."""
    frames = float(np.mean(games.frames))
    table = Table(show_header=False)
    table.add_row("game", f"{settings.game}, {settings.protocol}, {settings.policy}")
    table.add_row("agent", f"{agent.checkpoint}, after {agent.model.num_timesteps:,} steps")
    table.add_row("games", f"{len(games.returns)}")
    table.add_row("mean score", f"{np.mean(games.returns):,.1f}")
    if len(games.returns) > 1:
        low, high = games.interval()
        table.add_row("95% confidence interval", f"{low:,.1f} to {high:,.1f}")
    table.add_row("median score", f"{np.median(games.returns):,.1f}")
    table.add_row("best score", f"{max(games.returns):,.0f}")
    table.add_row("mean length", f"{frames:,.0f} frames ({frames / FRAMES_PER_SECOND:,.0f} s)")
    return table
