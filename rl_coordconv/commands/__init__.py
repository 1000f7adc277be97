"""The commands of ``rl-coordconv``; in a checkout, each is a file in ``scripts/`` too.

This module imports little, and the modules of the commands import torch only once the flags are
known to be right.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

COMMANDS = {
    "train-a2c": "Train A2C, with or without CoordConv, on an Atari game.",
    "train-ppo": "Train PPO, with or without CoordConv, on an Atari game.",
    "train-apex": "Train Ape-X, with or without CoordConv, on Atari.",
    "train-toy": "Train one network on one of the paper's toy tasks.",
    "train-gan": "Train a GAN on images of two objects.",
    "train-vae": "Train a VAE on images of two objects.",
    "train-detection": "Train a detector on MNIST digits.",
    "train-classification": "Train a classifier, with or without a layer in front.",
    "evaluate": "Evaluate a trained agent: scores, videos, coordinates.",
    "compare": "Compare runs: which is better, with what confidence.",
    "study": "Train a study's runs, here or on a Ray cluster.",
    "bench": "Measure speeds side by side, and print them as a table.",
}
"""Description of each command, by name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that a command line names, or list the commands; return the exit code.

    Args:
        argv: The command line; None for the process's own.
    """
    words = _own() if argv is None else argv
    name, *rest = words or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:{width}}  {sentence}" for name, sentence in COMMANDS.items()]
        print("usage: rl-coordconv COMMAND ...\n", *lines, sep="\n")
        print("\nEach command has its own --help, as in: rl-coordconv train-a2c --help")
    elif name == "--version":
        print(f"rl_coordconv {version('rl_coordconv')}")
    elif name not in COMMANDS:
        hints = import_module("rl_coordconv.runs.hints")
        print(f"There is no command {name}; {hints.nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    else:
        return run(name, rest)
    return 0


def run(name: str, argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        name: Its name in `COMMANDS`.
        argv: Its arguments; None for the process's own.
    """
    if argv is None:
        argv = _own()
    if name.startswith("train-"):
        experiments = import_module("rl_coordconv.experiments")
        code: int = experiments.main(name.removeprefix("train-"), COMMANDS[name], argv)
    else:
        code = import_module(f"{__name__}.{name}").main(COMMANDS[name], argv)
    return code


def _own() -> list[str]:
    """Return the process's arguments, and let Ctrl-C end it quietly while it imports."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # see `rl_coordconv.runs.signals.end_import`
    return sys.argv[1:]
