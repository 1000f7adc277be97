"""Read a study file and return its runs, each with complete settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rl_coordconv.experiments import find_experiment
from rl_coordconv.runs.config import (
    Config,
    Defaults,
    UserError,
    flag,
    nearest,
    parse_value,
    read_yaml,
)
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.shell import shell_command

_BLOCKS = ("fixed", "vary")


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
        config: Its settings.
        chosen: The settings that the study sets, without ``experiment``.
    """

    config: Config
    chosen: Mapping[str, Any]

    @cached_property
    def run(self) -> Run:
        """The run's folder, which may not exist yet."""
        return Run(self.config.folder, self.config)

    def with_threads(self, number: int) -> PlannedRun:
        """Return the run with this many threads, unless the study sets them."""
        if "num_threads" in self.chosen:
            return self
        return replace(self, config=self.config.model_copy(update={"num_threads": number}))

    def command(self) -> str:
        """Return the shell command of this run."""
        chosen = {**self.chosen, "num_threads": self.config.num_threads}
        words = [word for name, value in chosen.items() for word in (flag(name), str(value))]
        return shell_command(find_experiment(self.config.experiment).command, *words)


def read_study(
    file: Path,
    configs: Path,
    flags: Mapping[str, str] | None = None,
    other_flags: Iterable[str] = (),
) -> list[PlannedRun]:
    """Return the runs of a study, in the order in which to start them.

    A study file has two blocks: ``vary`` maps settings to lists of values, and every combination
    is a run; the last list varies fastest. ``fixed`` has the settings that all runs share. The
    experiment is a setting in either.

    Args:
        file: The study file.
        configs: The folder ``configs``, whose files have the defaults of all other settings.
        flags: Settings as text that replace the study's; comma-separated values vary a setting.
        other_flags: Other valid flags, to suggest when one is unknown.

    Raises:
        UserError: The study is invalid; the message names the setting.
    """
    given = {
        name: [text] if name == "log_dir" else text.split(",")
        for name, text in (flags or {}).items()
    }
    fixed, vary = _read_blocks(file)
    values: dict[str, list[Any]] = {**vary, **fixed, **given}
    if "experiment" not in values:
        raise UserError(f"{file} must name an experiment, as in `experiment: a2c` under fixed.")
    reader = _Reader(file, configs, frozenset(given), tuple(other_flags))
    for name, listed in values.items():
        if name == "log_dir" and len(listed) > 1:
            raise UserError("log_dir is the folder of all runs; it cannot vary.")
        if twice := [value for i, value in enumerate(listed) if value in listed[:i]]:
            raise UserError(f"{reader.where(name)} lists {twice[0]} twice; remove one.")
    runs: dict[Path, PlannedRun] = {}
    for combination in itertools.product(*values.values()):
        planned = reader.plan(dict(zip(values, combination, strict=True)))
        folder = planned.run.folder
        if other := runs.get(folder):
            names = [name for name in values if planned.chosen.get(name) != other.chosen.get(name)]
            raise UserError(f"{reader.where(*names)}: two runs have the folder {folder}.")
        runs[folder] = planned
    return list(runs.values())


def _read_blocks(file: Path) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return the fixed settings of a study file, as lists of one value, and the varied ones."""
    blocks = read_yaml(file)
    for block, settings in blocks.items():
        if block not in _BLOCKS:
            raise UserError(f"{file}: {block} is not a block; {nearest(block, _BLOCKS)}")
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            raise UserError(f"{file}: {block} must contain settings, one `name: value` per line.")
    fixed, vary = (blocks.get(block, {}) for block in _BLOCKS)
    for name, value in fixed.items():
        if isinstance(value, (list, dict)):
            raise UserError(f"{file}: {name} under fixed must be one value, not {value!r}.")
    for name, listed in vary.items():
        if not isinstance(listed, list) or not listed:
            raise UserError(f"{file}: {name} under vary must be a list of values, not {listed!r}.")
        if name in fixed:
            raise UserError(f"{file}: {name} is under fixed and under vary; remove one.")
    return {name: [value] for name, value in fixed.items()}, vary


@dataclass(frozen=True)
class _Reader:
    """The sources of settings: a study file, the folder ``configs``, and flags by name."""

    file: Path
    configs: Path
    flags: frozenset[str]
    other_flags: Sequence[str]

    def where(self, *names: str) -> str:
        """Return where the user set some settings."""
        places = [flag(name) if name in self.flags else f"{self.file}: {name}" for name in names]
        return " and ".join(places) or str(self.file)

    def plan(self, chosen: Mapping[str, Any]) -> PlannedRun:
        """Return a run with some settings."""
        experiment = find_experiment(str(chosen["experiment"]))
        config_class = experiment.config_class()
        fields = config_class.model_fields
        if unknown := sorted(self.flags - fields.keys()):
            names = [*map(flag, fields), *self.other_flags]
            raise UserError(
                f"There is no flag {flag(unknown[0])} for {chosen['experiment']};"
                f" {nearest(flag(unknown[0]), names)}"
            )
        settings = {
            name: parse_value(value, fields[name]) if name in fields else value
            for name, value in chosen.items()
            if name != "experiment"
        }
        defaults = config_class.find_defaults(self.configs / experiment.defaults, settings)
        from_flags = {name: value for name, value in settings.items() if name in self.flags}
        from_file = {name: value for name, value in settings.items() if name not in self.flags}
        # One thread each, because parallel runs that all use every core slow each other down.
        own = {"num_threads": 1, **from_file}
        values = Defaults(defaults.file, defaults.of_experiment, self.file, own)
        return PlannedRun(config_class.load(values, from_flags), settings)
