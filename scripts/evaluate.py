"""Evaluate a trained agent: scores of whole games, videos, and what its coordinates do."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

# Before torch is imported: its idle threads would otherwise spin on the cores that emulate.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from rich.console import Console

from rl_coordconv.envs.atari import Protocol, game_name
from rl_coordconv.experiments.atari.agents import ALGORITHMS, load_agent
from rl_coordconv.experiments.atari.evaluate import evaluate
from rl_coordconv.experiments.atari.explain import explain
from rl_coordconv.experiments.atari.play import PlaySettings
from rl_coordconv.experiments.atari.video import record_best, require_encoder
from rl_coordconv.runs.config import (
    MAX_SEED,
    Parser,
    UserError,
    expand_path,
    flag,
    one_sentence_errors,
)
from rl_coordconv.runs.files import disk_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, play, and return the exit code.

    The results of a run's agent are saved in the run folder, those of any other agent in the
    current folder.
    """
    with one_sentence_errors():
        options = _parser().parse_args(argv)
        _check(options)
        agent = load_agent(
            options.agent,
            checkpoint=options.checkpoint,
            algo=options.algo,
            trust=options.trust,
            device=options.device,
        )
        config = agent.config
        if not (options.env or config):
            raise UserError("Which game does this agent play? Name it with --env.")
        settings = PlaySettings(
            game=game_name(options.env or config.env),
            protocol=options.protocol or (config.protocol if config else "classic"),
            deterministic=options.deterministic,
            n_envs=options.n_envs,
            seed=options.seed,
        )
        folder = agent.run.folder if agent.run else Path.cwd()
        console = Console()
        with disk_errors(folder):
            if options.explain:
                explain(agent.model, settings, options.episodes, folder / "figures", console)
            if options.video or options.gif:
                title = f"{settings.game} {config.extractor}" if config else settings.game
                wanted = {"video.mp4": options.video, "video.gif": options.gif}
                paths = [folder / name for name, is_wanted in wanted.items() if is_wanted]
                record_best(agent.model, settings, options.best_of, title, paths)
            if not (options.explain or options.video or options.gif):
                evaluate(agent, settings, options.episodes, console)
    return 0


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("agent", type=expand_path, help="run folder, or .zip of Stable-Baselines3")
    add("--episodes", type=int, default=30, help="games to play (default: 30)")
    add("--checkpoint", default="final", help="which saved agent to load: final, best or newest")
    add("--algo", help=f"algorithm of a .zip, if it cannot be detected: {', '.join(ALGORITHMS)}")
    add("--trust", action="store_true", help="also load a .zip from outside a run folder")
    add("--env", help="game (default: the run's)")
    add("--protocol", choices=get_args(Protocol), help="default: the run's")
    add("--deterministic", action="store_true", help="take the most likely action")
    add("--n-envs", type=int, default=16, help="games played at once (default: 16)")
    add("--seed", type=int, default=0, help="random seed for games and actions (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--video", action="store_true", help="record a video of a game: video.mp4")
    add("--gif", action="store_true", help="record a video of a game: video.gif")
    add("--best-of", type=int, default=1, metavar="N", help="record the best of N games")
    add("--explain", action="store_true", help="draw what the coordinates do")
    return parser


def _check(options: argparse.Namespace) -> None:
    for name in ("episodes", "n_envs", "best_of"):
        if getattr(options, name) < 1:
            raise UserError(f"{flag(name)} must be at least 1.")
    if options.seed < 0:
        raise UserError("--seed must be at least 0.")
    if options.seed > MAX_SEED:
        raise UserError(f"--seed must be at most {MAX_SEED}.")
    if options.best_of > 1 and not (options.video or options.gif):
        raise UserError("--best-of needs --video or --gif.")
    if options.video:
        require_encoder()


if __name__ == "__main__":
    sys.exit(main())
