"""Play whole games with a trained agent: scores, films, and what its coordinates do."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

# Before torch is imported: its idle threads would otherwise spin on the cores that emulate.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from rl_coordconv.experiments.atari.agents import ALGORITHMS
from rl_coordconv.experiments.atari.evaluate import evaluate
from rl_coordconv.runs.config import Parser, one_sentence_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, play, and return the exit code."""
    parser = Parser(description=__doc__)
    parser.add_argument("agent", type=Path, help="run folder, or .zip of Stable-Baselines3")
    parser.add_argument("--episodes", type=int, default=30, help="games (default: 30)")
    parser.add_argument("--checkpoint", default="final", help="of a run: final, best or newest")
    parser.add_argument("--algo", help=f"of a .zip, if it cannot be told: {', '.join(ALGORITHMS)}")
    parser.add_argument("--trust", action="store_true", help="load a .zip from outside a run too")
    parser.add_argument("--env", help="game (default: the run's)")
    parser.add_argument("--protocol", choices=["classic", "sticky"], help="default: the run's")
    parser.add_argument("--deterministic", action="store_true", help="take the likeliest action")
    parser.add_argument("--n-envs", type=int, default=16, help="games at once (default: 16)")
    parser.add_argument("--seed", type=int, default=0, help="of games and actions (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--video", action="store_true", help="film a game: video.mp4")
    parser.add_argument("--gif", action="store_true", help="film a game: video.gif")
    parser.add_argument("--best-of", type=int, default=1, metavar="N", help="keep the best of N")
    parser.add_argument("--explain", action="store_true", help="draw what the coordinates do")
    with one_sentence_errors():
        return evaluate(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
