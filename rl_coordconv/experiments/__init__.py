"""The experiments by name: what can be set in each, what trains it, what its log shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_coordconv.runs.config import Config, Defaults, UserError, nearest, read_yaml
from rl_coordconv.runs.folder import Run


@dataclass(frozen=True)
class Experiment:
    """What one script of ``scripts/`` does.

    Attributes:
        script: The script's name.
        config_class: Imports and returns the class of its settings.
        train: Imports and returns the function that does a run.
        defaults: From the folder ``configs`` and the chosen settings to those that go with them.
        length: The setting that says how long a run is, in `unit`.
        unit: Of what.
        step: The column of ``progress.csv`` that says how far a run is.
        score: How the column that says how good it is begins.
        speed: From a row of ``progress.csv`` to units a second.
    """

    script: str
    config_class: Callable[[], type[Config]]
    train: Callable[[], Callable[[Any, Run], None]]
    defaults: Callable[[Path, Mapping[str, Any]], Defaults]
    length: str
    unit: str
    step: str
    score: str
    speed: Callable[[Mapping[str, str]], float]


def find_experiment(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in EXPERIMENTS:
        raise UserError(f"There is no experiment {name!r}; {nearest(name, EXPERIMENTS)}")
    return EXPERIMENTS[name]


# Only what is used is imported: training on Atari loads the emulators.
def _a2c_config() -> type[Config]:
    from rl_coordconv.experiments.atari.config import A2CConfig

    return A2CConfig


def _ppo_config() -> type[Config]:
    from rl_coordconv.experiments.atari.config import PPOConfig

    return PPOConfig


def _train_on_atari() -> Callable[[Any, Run], None]:
    from rl_coordconv.experiments.atari.train import train

    return train


def _toy_config() -> type[Config]:
    from rl_coordconv.experiments.not_so_clevr.config import ToyConfig

    return ToyConfig


def _train_toy() -> Callable[[Any, Run], None]:
    from rl_coordconv.experiments.not_so_clevr.train import train

    return train


def _toy_defaults(configs: Path, chosen: Mapping[str, Any]) -> Defaults:
    from rl_coordconv.experiments.not_so_clevr.config import find_defaults

    return find_defaults(configs / "toy", chosen)


def _atari(name: str, config_class: Callable[[], type[Config]]) -> Experiment:
    def defaults(configs: Path, _: Mapping[str, Any]) -> Defaults:
        file = configs / f"{name}.yaml"
        return Defaults(file, read_yaml(file))

    return Experiment(
        script=f"train_{name}.py",
        config_class=config_class,
        train=_train_on_atari,
        defaults=defaults,
        length="total_timesteps",
        unit="steps",
        step="time/total_timesteps",
        score="rollout/ep_rew_mean",
        speed=lambda row: float(row["time/steps_per_second"]),
    )


EXPERIMENTS = {
    "a2c": _atari("a2c", _a2c_config),
    "ppo": _atari("ppo", _ppo_config),
    "toy": Experiment(
        script="train_toy.py",
        config_class=_toy_config,
        train=_train_toy,
        defaults=_toy_defaults,
        length="n_epochs",
        unit="epochs",
        step="epoch",
        score="test_",
        speed=lambda row: float(row["epoch"]) / float(row["seconds"]),
    ),
}
