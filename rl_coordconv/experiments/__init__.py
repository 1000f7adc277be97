"""The experiments by name; each is a folder with ``config.py`` and ``train.py``.

They do not know each other. A new one needs its folder, a file in ``configs/``, a script, and a
line in `EXPERIMENTS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from rl_coordconv.runs.config import Config, UserError, nearest, one_sentence_errors, parse_args
from rl_coordconv.runs.folder import Run, run_experiment

ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
"""Environment variables for Atari and for several runs at once, set before torch is imported.

Torch's idle threads then wait about 0.1 ms for the next operation of a network, and no longer: the
emulators, or the other runs, need the cores.
"""


@dataclass(frozen=True)
class Experiment:
    """An entry of `EXPERIMENTS`: names only, so that listing the experiments imports none of them.

    Attributes:
        module: The folder; ``<module>.train`` has a function ``train(config, run)``.
        config: The config class in ``<module>.config``.
        script: The file in ``scripts/``.
        defaults: The file in ``configs/``, or a folder of files.
        environment: Environment variables for a training; the user's own values win.
    """

    module: str
    config: str
    script: str
    defaults: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def config_class(self) -> type[Config]:
        """Import the class of the experiment's settings."""
        loaded: type[Config] = getattr(self._import("config"), self.config)
        return loaded

    def train(self) -> Callable[[Any, Run], None]:
        """Import the function that trains: ``train(config, run)``."""
        loaded: Callable[[Any, Run], None] = self._import("train").train
        return loaded

    def _import(self, file: str) -> Any:
        return import_module(f"{__name__}.{self.module}.{file}")


EXPERIMENTS = {
    "a2c": Experiment("atari", "A2CConfig", "train_a2c.py", "a2c.yaml", ENVIRONMENT),
    "ppo": Experiment("atari", "PPOConfig", "train_ppo.py", "ppo.yaml", ENVIRONMENT),
    "toy": Experiment("not_so_clevr", "ToyConfig", "train_toy.py", "toy"),
}


def find_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        UserError: There is no experiment of that name.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"There is no experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


def main(name: str, description: str, configs: Path, argv: Sequence[str] | None = None) -> int:
    """Train as a command line says, and return the exit code.

    Args:
        name: The experiment.
        description: What the script does, for ``--help``.
        configs: The folder ``configs/``.
        argv: The command line; None for the process's own.
    """
    experiment = find_experiment(name)
    for variable, value in experiment.environment.items():
        os.environ.setdefault(variable, value)
    with one_sentence_errors():
        defaults = configs / experiment.defaults
        config, overwrite = parse_args(experiment.config_class(), defaults, description, argv)
        return run_experiment(experiment.train(), config, overwrite=overwrite)
