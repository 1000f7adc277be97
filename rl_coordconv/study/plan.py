"""A study file becomes jobs: its runs, each with complete settings."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rl_coordconv.experiments import Experiment, find_experiment
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

_BLOCKS = ("fixed", "vary")


@dataclass(frozen=True)
class Job:
    """One run of a study: all that another process, or another machine, needs to do it.

    Attributes:
        settings: All of them, by name; ``experiment`` is one.
        chosen: Those that the study sets.
    """

    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]

    @property
    def experiment(self) -> Experiment:
        """What the run is one of."""
        return find_experiment(self.settings["experiment"])

    @cached_property
    def config(self) -> Config:
        """The run's config."""
        return self.experiment.config_class().model_validate(self.settings)

    @cached_property
    def run(self) -> Run:
        """The run's folder, which need not exist."""
        return Run(self.config.folder)

    @property
    def length(self) -> int:
        """How long it is, in the experiment's unit."""
        return self.config.length

    def with_threads(self, number: int) -> Job:
        """The same run with so many threads, unless the study chose them."""
        if "num_threads" in self.chosen:
            return self
        return replace(self, settings={**self.settings, "num_threads": number})

    def command(self, scripts: str) -> str:
        """The line that does the run by itself; ``scripts`` is the folder of the scripts."""
        chosen = {**self.chosen, "num_threads": self.settings["num_threads"]}
        words = [part for name, value in chosen.items() for part in (flag(name), str(value))]
        return shlex.join(["python", f"{scripts}/{self.experiment.script}", *words])


def read_study(file: Path, configs: Path, flags: Mapping[str, str] | None = None) -> list[Job]:
    """The runs of a study, in the order in which they are to be started.

    A study file has two blocks: under ``vary`` lists of values, of which every combination is a
    run, the values of the last list following each other fastest; under ``fixed`` what all runs
    share. ``experiment`` is a name in either. What stands under ``vary`` and does not show in a
    run's folder gets a folder of its own above it, as in ``runs/learning_rate-0.001/a2c/...``.

    Args:
        file: The study.
        configs: The folder ``configs``, whose files hold all other settings.
        flags: Settings as text that replace the study's; several values, between commas, vary it.

    Raises:
        UserError: The study makes no sense; the sentence says where.
    """
    given = {
        name: [text] if name == "log_dir" else text.split(",")
        for name, text in (flags or {}).items()
    }
    fixed, vary = _read_values(file)
    reader = _Reader(file, configs, frozenset(given))
    values: dict[str, list[Any]] = {**vary, **fixed, **given}
    if "experiment" not in values:
        raise UserError(f"{file} must name an experiment, as in `experiment: a2c` under fixed.")
    if len(values.get("log_dir", ())) > 1:
        raise UserError("log_dir is one folder, that of all runs; it cannot vary.")
    for name, listed in values.items():
        if twice := [value for i, value in enumerate(listed) if value in listed[:i]]:
            raise UserError(f"{reader.where(name)} holds {twice[0]} twice; a run is done once.")
    varied = {*vary, *(name for name, listed in given.items() if len(listed) > 1)}
    hidden = [name for name in values if name in varied and reader.is_hidden(name, values)]
    jobs: dict[Path, Job] = {}
    for combination in itertools.product(*values.values()):
        job = reader.job(dict(zip(values, combination, strict=True)), hidden)
        if other := jobs.get(job.run.folder):
            names = [name for name in values if job.chosen.get(name) != other.chosen.get(name)]
            raise UserError(
                f"{reader.where(*names)}: the run in {job.run.folder} is there twice; a run is done"
                " once."
            )
        jobs[job.run.folder] = job
    return list(jobs.values())


def _read_values(file: Path) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """What a study file holds: fixed settings, as lists of one, and varied ones."""
    blocks = read_yaml(file)
    for block, settings in blocks.items():
        if block not in _BLOCKS:
            raise UserError(f"{file}: {block} is no part of a study; {nearest(block, _BLOCKS)}")
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            raise UserError(f"{file}: {block} must hold settings, one `name: value` a line.")
    fixed, vary = (blocks.get(block, {}) for block in _BLOCKS)
    for name, value in fixed.items():
        if isinstance(value, (list, dict)):
            raise UserError(f"{file}: {name} under fixed must be one value, not {value!r}.")
    for name, listed in vary.items():
        if not isinstance(listed, list) or not listed:
            raise UserError(f"{file}: {name} under vary must be a list of values, not {listed!r}.")
        if name in fixed:
            raise UserError(f"{file}: {name} stands under fixed and under vary; keep one of them.")
    return {name: [value] for name, value in fixed.items()}, vary


@dataclass(frozen=True)
class _Reader:
    """Makes jobs of what a study chooses."""

    file: Path
    configs: Path
    flags: frozenset[str]

    def where(self, *names: str) -> str:
        """Where a reader finds what some settings were set to."""
        said = [flag(name) if name in self.flags else f"{self.file}: {name}" for name in names]
        return " and ".join(said) or str(self.file)

    def job(self, chosen: Mapping[str, Any], hidden: Sequence[str] = ()) -> Job:
        """A run with settings, in a folder above whose own the hidden ones show."""
        name = str(chosen["experiment"])
        experiment = find_experiment(name)
        config_class = experiment.config_class()
        settings = {key: value for key, value in chosen.items() if key != "experiment"}
        for key, field in config_class.model_fields.items():
            if key in settings:
                settings[key] = parse_value(settings[key], field)
        defaults = config_class.find_defaults(self.configs / experiment.defaults, settings)
        from_flags = {key: value for key, value in settings.items() if key in self.flags}
        from_file = {key: value for key, value in settings.items() if key not in self.flags}
        # On all cores of a machine, as a single run is, several would be in each other's way.
        values = Defaults(self.file, {**defaults.values, "num_threads": 1, **from_file})
        full = config_class.load(values, from_flags).model_dump()
        if hidden:  # by their validated values, in one order: a study may be written in many ways
            above = [f"{key}-{full[key]}" for key in sorted(hidden)]
            full["log_dir"] = settings["log_dir"] = str(Path(full["log_dir"], *above))
        return Job(full, settings)

    def is_hidden(self, name: str, values: Mapping[str, Sequence[Any]]) -> bool:
        """Whether runs that differ in one setting only have the same folder."""
        if name == "experiment":
            return False
        first = {key: listed[0] for key, listed in values.items()}
        configs = [self.job({**first, name: value}).config for value in values[name]]
        # One value alone may show too: with another, the folder would be another.
        other = configs[0].model_copy(update={name: "another"})
        return len({config.folder for config in (*configs, other)}) == 1
