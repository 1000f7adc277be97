"""The command ``study``."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import UserError, expand_path
from rl_coordconv.runs.hints import nearest
from rl_coordconv.runs.shell import shell_command
from rl_coordconv.runs.signals import end_import
from rl_coordconv.study.command import FLAGS, BackendName, Options, run_study
from rl_coordconv.study.worker import GPUS_PER_RUN

_STUDIES = CONFIGS / "studies"


def main(description: str, argv: Sequence[str]) -> int:
    """Parse the command line, train, and return the exit code."""
    with one_sentence_errors():
        options = parse(description, argv)
        end_import()
        return run_study(options)


def parse(description: str, argv: Iterable[str]) -> Options:
    """Parse a command line; the settings of the runs are not checked yet."""
    parser = Parser(
        description=description,
        epilog="Every setting of the experiment except `backend` is a flag too, which replaces the"
        " study's value, as in --total-timesteps 1000000 or --seed 0,1,2. The settings of A2C are"
        f" listed by `{shell_command('train-a2c', '--help')}`.",
    )
    add = parser.add_argument
    names = sorted(path.stem for path in _STUDIES.glob("*.yaml"))
    help_text = f"study file, or the name of an included study: {', '.join(names)}"
    add("study", type=expand_path, metavar="STUDY", help=help_text)
    instead = parser.add_mutually_exclusive_group().add_argument
    instead("--list", action="store_true", help="list the runs and their progress")
    instead("--dry-run", action="store_true", help="print the command of every unfinished run")
    add(
        "--measure",
        action="store_true",
        help="list the runs and how long each takes; each new configuration is trained briefly"
        " (up to 2 min) to measure its speed",
    )
    add(
        "--backend",
        choices=get_args(BackendName),
        help="train on this machine, on a Ray cluster, or print a command per run, for example"
        " for a Slurm array (default: local)",
    )
    add(
        "--address",
        help="Ray cluster: host:port, auto to find it, or local to start one (default: auto)",
    )
    add(
        "--parallel",
        type=int,
        metavar="N",
        help="runs at once on this machine (default: as many as its cores allow)",
    )
    add(
        "--gpus-per-run",
        type=float,
        metavar="X",
        help=f"share of a GPU for each run (default: {GPUS_PER_RUN} if there is a GPU)",
    )
    add(
        "--retries",
        type=int,
        metavar="N",
        help="retries of a run that fails without a new checkpoint (default: 2)",
    )
    settings, words = split(argv)
    options = parser.parse_args(words, Options(settings=settings))
    options.study = find_study(options.study)
    for name, value, least in (
        ("--parallel", options.parallel, 1),
        ("--gpus-per-run", options.gpus_per_run, 0),
        ("--retries", options.retries, 0),
    ):
        if value is not None and not least <= value < math.inf:
            raise UserError(f"{name} must be at least {least}, not {value}.")
    if options.measure and options.dry_run:
        raise UserError("--measure lists the runs; leave out --dry-run.")
    options.list |= options.measure
    if options.address and options.backend != "ray":
        raise UserError("--address names a Ray cluster; add --backend ray.")
    return options


def find_study(study: Path) -> Path:
    """Return the file of a study, which may be the name of an included one.

    Raises:
        UserError: It is the name of neither.
    """
    is_name = study.name == str(study) and not study.suffix and not study.exists()
    if not is_name:
        return study
    included = {path.stem: path for path in _STUDIES.glob("*.yaml")}
    if study.name not in included:
        raise UserError(f"There is no study {study}; {nearest(study, included)}")
    return included[study.name]


def split(argv: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Separate settings of the runs, whose names depend on the study, from other arguments."""
    settings, rest = {}, []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in {*FLAGS, "--version"}:
            rest.append(word)
            continue
        # A mistyped flag without a value would consume the next word.
        switches = ("--list", "--measure", "--dry-run", "--help", "--version")
        if meant := difflib.get_close_matches(name, switches, cutoff=0.8):
            raise UserError(f"There is no flag {name}; did you mean {meant[0]}?")
        if not equals:
            value = next(words, "--")
        if value.startswith("--"):
            raise UserError(f"Argument {name}: expected one argument.")
        settings[name.removeprefix("--").replace("-", "_")] = value
    return settings, rest
