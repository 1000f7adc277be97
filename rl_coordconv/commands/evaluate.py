"""The command ``evaluate``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from rich.console import Console

from rl_coordconv.envs.games import Protocol, game_name
from rl_coordconv.experiments.atari.config import ALGORITHMS
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import MAX_SEED, UserError, expand_path, flag
from rl_coordconv.runs.files import disk_errors
from rl_coordconv.runs.signals import end_import

if TYPE_CHECKING:
    from rl_coordconv.experiments.atari.agents import Agent
    from rl_coordconv.experiments.atari.play import PlaySettings


def main(description: str, argv: Sequence[str]) -> int:
    """Parse the command line, play, and return the exit code.

    Results are saved in the run folder, or beside a file from elsewhere.
    """
    # Before torch is imported: its idle threads would otherwise spin on the cores that emulate.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with one_sentence_errors():
        options = _parser(description).parse_args(argv)
        _check(options)
        from rl_coordconv.experiments.atari.agents import load_agent
        from rl_coordconv.experiments.atari.explain import first_layer
        from rl_coordconv.experiments.atari.play import PlaySettings
        from rl_coordconv.experiments.atari.video import require_encoder

        if options.video:
            require_encoder()
        agent = load_agent(
            options.agent,
            checkpoint=options.checkpoint,
            algo=options.algo,
            trust=options.trust,
            device=options.device,
        )
        config = agent.config
        game = options.env or (config and config.env)
        if not game:
            raise UserError("Which game does this agent play? Name it with --env.")
        settings = PlaySettings(
            game=game_name(game),
            protocol=options.protocol or (config.protocol if config else "classic"),
            deterministic=options.deterministic,
            n_envs=options.n_envs,
            seed=options.seed,
        )
        end_import()
        if options.explain:
            first_layer(agent.model)  # raises before minutes of play
        _play(agent, settings, options)
    return 0


def _play(agent: Agent, settings: PlaySettings, options: argparse.Namespace) -> None:
    from rl_coordconv.experiments.atari.evaluate import evaluate, file_name
    from rl_coordconv.experiments.atari.explain import explain
    from rl_coordconv.experiments.atari.video import record_best
    from rl_coordconv.experiments.atari.window import open_window, show_games

    console = Console()
    title = f"{settings.game} {agent.config.extractor}" if agent.config else settings.game
    if options.render:
        with open_window(title) as window:
            show_games(agent.model, settings, options.episodes, title, window, console)
        return
    with disk_errors(agent.folder):
        games = evaluate(agent, settings, options.episodes, console)
        name = file_name(agent, settings)
        if options.explain:
            explain(agent.model, settings, games, agent.folder / "figures" / name, console)
        best_of = f"-best-of-{options.best_of}" if options.best_of > 1 else ""
        wanted = {".mp4": options.video, ".gif": options.gif}
        if endings := [ending for ending, is_wanted in wanted.items() if is_wanted]:
            paths = [agent.folder / "videos" / f"{name}{best_of}{ending}" for ending in endings]
            record_best(agent.model, settings, options.best_of, title, paths, console)


def _parser(description: str) -> Parser:
    parser = Parser(description=description)
    add = parser.add_argument
    add("agent", type=expand_path, help="run folder, or .zip of Stable-Baselines3")
    add("--render", choices=["human"], help="show the games in a window instead")
    add("--episodes", type=int, default=30, help="games to play (default: 30)")
    add("--checkpoint", default="final", help="agent: final (default), best, newest or a step")
    add("--algo", help=f"algorithm of a .zip, if it cannot be detected: {', '.join(ALGORITHMS)}")
    add(
        "--trust",
        action="store_true",
        help="load a .zip from outside a run folder; trusted from now on",
    )
    add("--env", help="game (default: the run's)")
    add("--protocol", choices=get_args(Protocol), help="protocol (default: the run's)")
    add("--deterministic", action="store_true", help="take the most likely action, do not sample")
    add("--n-envs", type=int, default=16, help="games played at once (default: 16)")
    add("--seed", type=int, default=0, help="random seed for games and actions (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--video", action="store_true", help="also record a game as MP4")
    add("--gif", action="store_true", help="also record a game as GIF")
    add("--best-of", type=int, default=1, metavar="N", help="record the best of N games")
    add("--explain", action="store_true", help="also draw the effect of the coordinates")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("episodes", "n_envs", "best_of"):
        if getattr(options, name) < 1:
            raise UserError(f"{flag(name)} must be at least 1.")
    if options.n_envs > 4096:
        raise UserError("--n-envs must be at most 4096.")
    if options.seed < 0:
        raise UserError("--seed must be at least 0.")
    if options.seed > MAX_SEED:
        raise UserError(f"--seed must be at most {MAX_SEED}.")
    outputs = [name for name in ("video", "gif", "explain") if getattr(options, name)]
    if options.render and outputs:
        raise UserError(f"--render cannot be combined with {flag(outputs[0])}.")
    if options.best_of > 1 and not (options.video or options.gif):
        raise UserError("--best-of needs --video or --gif.")
