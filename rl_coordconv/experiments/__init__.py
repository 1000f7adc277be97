"""The registry of experiments, and their use from Python.

>>> config = make_config("a2c", extractor="coordconv", learning_rate=1e-3)
>>> str(config.folder)
'runs/a2c/MsPacman/coordconv-learning_rate-0.001/seed-0'

``train(config)`` trains as ``rl-coordconv train-a2c`` does, and returns a `Result`.

Each experiment is a folder with ``config.py``, ``train.py`` and ``closing.py``; experiments do not
import each other. A new one needs its folder, a file in ``configs/``, and an entry each in
`EXPERIMENTS` and `rl_coordconv.commands.COMMANDS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from signal import SIGINT
from typing import Any

from rich.console import Console, RenderableType

from rl_coordconv.runs.command_line import one_sentence_errors, parse_args
from rl_coordconv.runs.config import Config, UserError, nearest
from rl_coordconv.runs.distributed import connected
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.ranks import is_main, world_size
from rl_coordconv.runs.signals import end_import
from rl_coordconv.runs.together import run_together

# In the installed package, or beside it in a checkout.
_FOLDERS = [parent / "configs" for parent in Path(__file__).parents[1:3]]
CONFIGS = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
"""The files with the default settings."""

ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
"""Environment variables for Atari and for concurrent runs, to be set before torch is imported.

They limit the busy-waiting of torch's idle threads to about 0.1 ms, the time between a network's
operations, because the emulators or the other runs need the cores.
"""


# Ray would warn on stderr about RLlib's way to start runners, and try for half a minute to enter a
# cluster with another token.
_RAY = {**ENVIRONMENT, "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_NUM_REDIS_GET_RETRIES": "2"}


@dataclass(frozen=True)
class Experiment:
    """An entry of `EXPERIMENTS`; it has names only, so the experiments are imported when needed.

    Attributes:
        module: The folder; ``<module>.train`` has the functions ``train(config, run, callbacks)``
            and ``load_model(config, run)``, ``<module>.closing`` a function
            ``closing(config, run)``.
        config: The config class in ``<module>.config``.
        command: The command that trains.
        defaults: The file in ``configs/``, or a folder of files.
        environment: Environment variables for a training; values set by the user take precedence.
        distributed: Whether several processes, started by ``torchrun``, can train together.
    """

    module: str
    config: str
    command: str
    defaults: str
    environment: Mapping[str, str] = field(default_factory=dict)
    distributed: bool = False

    def config_class(self) -> type[Config]:
        """Import the experiment's config class."""
        loaded: type[Config] = getattr(self._import("config"), self.config)
        return loaded

    def train(self) -> Callable[..., None]:
        """Import the function that trains: ``train(config, run, callbacks=())``."""
        loaded: Callable[..., None] = self._import("train").train
        return loaded

    def closing(self) -> Callable[[Any, Run], RenderableType]:
        """Import the function that returns the closing lines of a run's output."""
        loaded: Callable[[Any, Run], RenderableType] = self._import("closing").closing
        return loaded

    def load_model(self, config: Config, run: Run) -> Any:
        """Load the final model of a run."""
        return self._import("train").load_model(config, run)

    def set_environment(self) -> None:
        """Set the environment variables that the user has not set."""
        for variable, value in self.environment.items():
            os.environ.setdefault(variable, value)

    def check_processes(self) -> None:
        """Raise a `UserError` if ``torchrun`` started several processes that cannot train."""
        if world_size() > 1 and not self.distributed:
            raise UserError(f"{self.command} trains in one process; start it without torchrun.")

    def _import(self, file: str) -> Any:
        return import_module(f"{__name__}.{self.module}.{file}")


EXPERIMENTS = {
    "a2c": Experiment("atari", "A2CConfig", "train-a2c", "a2c.yaml", ENVIRONMENT),
    "ppo": Experiment("atari", "PPOConfig", "train-ppo", "ppo.yaml", ENVIRONMENT),
    "apex": Experiment("apex", "ApexConfig", "train-apex", "apex.yaml", _RAY),
    "toy": Experiment("not_so_clevr", "ToyConfig", "train-toy", "toy"),
    "gan": Experiment("generative", "GANConfig", "train-gan", "gan.yaml"),
    "vae": Experiment("generative", "VAEConfig", "train-vae", "vae.yaml"),
    "detection": Experiment(
        "mnist_detection", "DetectionConfig", "train-detection", "mnist_detection.yaml"
    ),
    "classification": Experiment(
        "image_classification",
        "ClassificationConfig",
        "train-classification",
        "image_classification.yaml",
        distributed=True,
    ),
}


def find_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Raises:
        UserError: There is no experiment of that name.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"There is no experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


def make_config(experiment: str, **settings: object) -> Config:
    """Return an experiment's default settings, with some of them changed.

    Args:
        experiment: A name in `EXPERIMENTS`, such as ``a2c``, ``toy`` or ``gan``.
        **settings: The changed settings, named as in the experiment's file in ``configs/``.

    Raises:
        UserError: There is no such experiment or setting, or a value is invalid.
    """
    found = find_experiment(experiment)
    config_class = found.config_class()
    own = {name: _plain(value) for name, value in settings.items()}
    defaults = config_class.find_defaults(CONFIGS / found.defaults, own)
    own.pop("config", None)
    return config_class.load(defaults, own, "make_config: {}")


def _plain(value: Any) -> object:
    """Return Python's number for one of NumPy, as a search may choose, and text for a path."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if getattr(value, "ndim", None) == 0 else value


def train(
    config: Config,
    *,
    callbacks: Sequence[Any] = (),
    overwrite: bool = False,
    track: bool = False,
    verbose: bool = True,
) -> Result:
    """Start, resume or extend the run of a config, as the experiment's command does.

    The result of a finished run is returned without training. The random number generators and
    torch's threads are restored at the end.

    Args:
        config: The settings, from `make_config`; ``config.folder`` is the run's folder.
        callbacks: For ``a2c`` and ``ppo``, Stable-Baselines3 callbacks. For the others, functions
            that are called with the epoch and the metrics of each evaluation. An exception in a
            callback ends the training; the same call resumes it.
        overwrite: Delete an earlier run and start over.
        track: Also log to Weights & Biases.
        verbose: Print the settings, a progress bar and the run's folder.

    Raises:
        UserError: The run cannot be resumed with these settings, a file cannot be written, or the
            training diverged.
        KeyboardInterrupt: Ctrl-C was pressed; a checkpoint was saved first.
        SystemExit: SIGTERM was received; a checkpoint was saved first.
    """
    experiment = find_experiment(config.experiment)
    experiment.set_environment()
    train = partial(experiment.train(), callbacks=callbacks)
    experiment.check_processes()
    with _process_untouched(), connected():
        code = run_together(train, config, overwrite=overwrite, track=track, verbose=verbose)
    if code:
        raise KeyboardInterrupt if code == 128 + SIGINT else SystemExit(code)
    return Result(config)


@dataclass(frozen=True)
class Result:
    """The result of a training.

    Attributes:
        config: The settings.
    """

    config: Config

    @cached_property
    def run(self) -> Run:
        """The run's files: ``run.folder``, ``run.episodes``, ``run.best_model`` and so on."""
        return Run(self.config.folder, self.config)

    @cached_property
    def scores(self) -> dict[str, float]:
        """The last value of every metric, by column of ``progress.csv``."""
        rows = rows_until(self.run.progress, "step", float("inf"))
        return {name: float(value) for row in rows for name, value in row.items() if value}

    @property
    def score(self) -> float | None:
        """The last value of the experiment's main metric; None if there is none yet.

        For ``a2c`` and ``ppo`` it is the mean score of the last 100 training games.
        """
        return self.scores.get(self.config.score)

    @cached_property
    def model(self) -> Any:
        """The final model: a Stable-Baselines3 agent, or a network."""
        with _process_untouched():
            return find_experiment(self.config.experiment).load_model(self.config, self.run)


@contextmanager
def _process_untouched() -> Iterator[None]:
    """Restore the random number generators and torch's settings after the block."""
    from rl_coordconv.runs.checkpoint import rng_untouched  # imports torch, which takes seconds
    from rl_coordconv.runs.device import settings_untouched

    with rng_untouched(), settings_untouched():
        yield


def main(name: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Train with settings from the command line, and return the exit code.

    Args:
        name: The experiment.
        description: Description of the command for ``--help``.
        argv: Command-line arguments; None uses ``sys.argv[1:]``.
    """
    experiment = find_experiment(name)
    experiment.set_environment()
    with one_sentence_errors():
        experiment.check_processes()
        defaults = CONFIGS / experiment.defaults
        config, switches = parse_args(experiment.config_class(), defaults, description, argv)
        train, closing = experiment.train(), experiment.closing()
        end_import()
        with connected():
            code = run_together(train, config, **switches._asdict())
        if code == 0 and is_main():
            Console().print(closing(config, Run(config.folder)), soft_wrap=True)
        return code
