"""A study file becomes jobs: its runs, each with complete settings."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rl_coordconv.config import (
    Config,
    Defaults,
    UserError,
    flag,
    load_config,
    nearest,
    parse_value,
    read_yaml,
)
from rl_coordconv.experiments import Experiment, find_experiment
from rl_coordconv.run import Run

_BLOCKS = ("fixed", "vary")


@dataclass(frozen=True)
class Job:
    """One run of a study: all that another process, or another machine, needs to do it.

    Attributes:
        experiment_name: As in `EXPERIMENTS`.
        settings: All of them, by name.
        chosen: Those that the study sets.
    """

    experiment_name: str
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]

    @property
    def experiment(self) -> Experiment:
        """What the run is one of."""
        return find_experiment(self.experiment_name)

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
        return int(self.settings[self.experiment.length])

    def command(self, scripts: str) -> str:
        """The line that does the run by itself; ``scripts`` is the folder of the scripts."""
        words = [part for name, value in self.chosen.items() for part in (flag(name), str(value))]
        return shlex.join(["python", f"{scripts}/{self.experiment.script}", *words])


def read_study(file: Path, configs: Path, flags: Mapping[str, str] | None = None) -> list[Job]:
    """The runs of a study, in the order in which they are to be started.

    A study file has two blocks: under ``vary`` lists of values, of which every combination is a
    run, the values of the last list following each other fastest; under ``fixed`` what all runs
    share. ``experiment`` is a name in either. A setting that is varied and does not show in a run's
    folder gets a folder of its own above it, as in ``runs/learning_rate-0.001/a2c/...``.

    Args:
        file: The study.
        configs: The folder ``configs``, whose files hold all other settings.
        flags: Settings as text that replace the study's; several values stand between commas.

    Raises:
        UserError: The study makes no sense; the sentence says where.
    """
    flags = flags or {}
    reader = _Reader(file, configs, frozenset(flags))
    values = _read_values(file) | {name: text.split(",") for name, text in flags.items()}
    if "experiment" not in values:
        raise UserError(f"{file} must name an experiment, as in `experiment: a2c` under fixed.")
    for name, listed in values.items():
        if twice := [value for i, value in enumerate(listed) if value in listed[:i]]:
            raise UserError(f"{file}: {name} holds {twice[0]} twice; a run is done once.")
    hidden = [name for name in values if reader.is_hidden(name, values)]
    jobs = []
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        job = reader.job(chosen)
        if hidden:
            parts = [f"{name}-{job.chosen[name]}" for name in hidden]
            job = reader.job({**chosen, "log_dir": str(Path(job.settings["log_dir"], *parts))})
        jobs.append(job)
    return jobs


def _read_values(file: Path) -> dict[str, list[Any]]:
    """The values of each setting that a study file names, in its order."""
    blocks = read_yaml(file)
    for block, settings in blocks.items():
        if block not in _BLOCKS:
            raise UserError(f"{file}: {block} is no part of a study; {nearest(block, _BLOCKS)}")
        if not isinstance(settings, dict):
            raise UserError(f"{file}: {block} must hold settings, one `name: value` a line.")
    vary, fixed = (blocks.get(block, {}) for block in ("vary", "fixed"))
    for name, listed in vary.items():
        if not isinstance(listed, list) or not listed:
            raise UserError(f"{file}: {name} under vary must be a list of values, not {listed!r}.")
        if name in fixed:
            raise UserError(f"{file}: {name} stands under fixed and under vary; keep one of them.")
    return {**vary, **{name: [value] for name, value in fixed.items()}}


@dataclass(frozen=True)
class _Reader:
    """Makes jobs of what a study chooses."""

    file: Path
    configs: Path
    flags: frozenset[str]

    def job(self, chosen: Mapping[str, Any]) -> Job:
        name = str(chosen["experiment"])
        experiment = find_experiment(name)
        config_class = experiment.config_class()
        settings = {key: value for key, value in chosen.items() if key != "experiment"}
        # On all cores of a machine, as a single run is, several would be in each other's way.
        settings.setdefault("num_threads", 1)
        for key, field in config_class.model_fields.items():
            if key in settings:
                settings[key] = parse_value(settings[key], field)
        defaults = experiment.defaults(self.configs, settings)
        from_flags = {key: value for key, value in settings.items() if key in self.flags}
        from_file = {key: value for key, value in settings.items() if key not in self.flags}
        values = Defaults(self.file, {**defaults.values, **from_file})
        return Job(name, load_config(config_class, values, from_flags).model_dump(), settings)

    def is_hidden(self, name: str, values: Mapping[str, Sequence[Any]]) -> bool:
        """Whether runs that differ in one setting only would have the same folder."""
        first = {key: listed[0] for key, listed in values.items()}
        jobs = [self.job({**first, name: value}) for value in values[name]]
        for i, job in enumerate(jobs):
            if job.settings in [other.settings for other in jobs[:i]]:
                raise UserError(
                    f"{self.file}: {values[name][i]} under {name} is a run that is there already."
                )
        return len({job.run.folder for job in jobs}) < len(jobs)
