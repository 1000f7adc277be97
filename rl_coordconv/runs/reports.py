"""Pages about the paper's experiments, made from stored runs by ``scripts/report_paper.py``.

An experiment's ``report.py`` has a `Report`, named ``REPORT``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from matplotlib.figure import Figure
from pydantic import ValidationError
from torch import Tensor

from rl_coordconv.runs.animation import save_animation
from rl_coordconv.runs.config import C, Config, UserError, flag
from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.results import (
    MAY_DIFFER_IN_GROUP,
    fill_tables,
    groups_over_seeds,
    spread,
)
from rl_coordconv.runs.stored import StoredRun, is_stored_study, store_runs

Row = Mapping[str, float]
"""An evaluation: ``step`` (epochs), ``seconds``, ``updates``, and metrics where known."""


@dataclass(frozen=True)
class Result(Generic[C]):
    """Settings and evaluations of a run, finished or not.

    Args:
        run: The run.
        config: Its settings.
        rows: The evaluations in order; the first is before the first update.
    """

    run: StoredRun
    config: C
    rows: Sequence[Row]

    @property
    def last(self) -> Row:
        """The last evaluation."""
        return self.rows[-1]


def read_result(run: StoredRun, config_class: type[C]) -> Result[C]:
    """Read the settings and evaluations of a run.

    Raises:
        UserError: The run has other settings, is damaged, or has not been evaluated yet.
    """
    try:
        config = config_class.model_validate(run.settings)
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in run.rows("progress")
        ]
    except (ValidationError, ValueError) as error:
        raise UserError(f"The run in {run.folder} is not readable: {error}") from None
    if not rows:
        raise UserError(f"The run in {run.folder} has not been evaluated yet.")
    return Result(run, config, rows)


R = TypeVar("R", bound=Result[Any])


@dataclass(frozen=True)
class Group(Generic[R]):
    """Runs that differ only in their seed: one row of each table.

    Attributes:
        results: One per seed, at least one.
        deviations: Settings that differ from the preset's.
    """

    results: Sequence[R]
    deviations: Mapping[str, Any]

    def spread(self, column: str, number: str) -> str:
        """Return mean, least and largest value over seeds of a column of the last evaluation.

        A metric may be undefined, such as the straightness of a path without objects. Seeds without
        a value are left out and counted, and a dash is returned if there are no others.
        """
        values = list(self.values(column).values())
        if not values:
            return "-"
        missing = len(self.results) - len(values)
        return spread(values, number) + (f", undefined in {missing}" if missing else "")

    def values(self, column: str) -> dict[int, float]:
        """Return a column of the last evaluation of each seed that has a value."""
        return {r.config.seed: r.last[column] for r in self.results if column in r.last}

    @property
    def seconds(self) -> str:
        """Seconds of updates over seeds, by device, such as ``45 (30 to 60) on cuda``."""
        by_device: dict[str, list[float]] = {}
        for result in self.results:
            device = (result.run.versions.get("device") or "an unknown device").partition(":")[0]
            by_device.setdefault(device, []).append(result.last["seconds"])
        parts = {device: spread(x, "{:,.0f}") for device, x in sorted(by_device.items())}
        return ", ".join(f"{part} on {device}" for device, part in parts.items())

    def train_command(self, chosen: Mapping[str, Any]) -> str:
        """Return the command that trains the first seed.

        Args:
            chosen: Settings to name first, whether or not they are the defaults.
        """
        config: Config = self.results[0].config
        seed = {"seed": config.seed} if config.seed else {}
        flags = {**chosen, **self.deviations, **seed}.items()
        words = [f"{flag(key)} {value}" for key, value in flags]
        return " ".join([f"python scripts/train_{config.experiment}.py", *words])


def group_results(
    runs: Iterable[StoredRun], read: Callable[[StoredRun], R], defaults: Path, chosen: set[str]
) -> Iterator[tuple[list[R], dict[str, Any]]]:
    """Yield the arguments of the `Group` of all runs that differ only in their seed.

    Args:
        runs: The runs.
        read: Reads the results of a run.
        defaults: The file, or folder of files, of the default settings.
        chosen: Names of the settings that select the defaults; they are no deviations.

    Raises:
        UserError: A run cannot be read.
    """
    for own in groups_over_seeds(runs):
        results = sorted(map(read, own), key=lambda result: result.config.seed)
        config: Config = results[0].config
        values = config.find_defaults(defaults, config.model_dump(include=chosen)).values
        yield results, _deviations(config, values, chosen)


def _deviations(
    config: Config, defaults: Mapping[str, Any], chosen: Iterable[str]
) -> dict[str, Any]:
    """Return the settings that differ from their defaults, in the order of ``--help``."""
    others = MAY_DIFFER_IN_GROUP.union({"eval_freq"}, chosen)  # all report the last evaluation
    settings = {name: getattr(config, name) for name in config.flags() if name not in others}
    return {name: value for name, value in settings.items() if value != defaults[name]}


def words(settings: Mapping[str, Any]) -> Iterator[str]:
    """Describe settings in a few words each.

    >>> list(words({"n_epochs": 5, "learning_rate": 0.1}))
    ['5 epochs', 'learning rate 0.1']
    """
    for key, value in settings.items():
        yield f"{value} epochs" if key == "n_epochs" else f"{key.replace('_', ' ')} {value}"


class Report(ABC):
    """The contents of an experiment's pages: ``docs/<name>.md`` and ``docs/results/<name>``."""

    name: str

    @abstractmethod
    def wants(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the pages are about runs with these settings."""

    @abstractmethod
    def figures(self, stored: Path) -> Mapping[str, Figure]:
        """Draw figures from stored runs, by file name without suffix."""

    def pictures(self, runs: Path) -> Mapping[str, Figure | Tensor]:
        """Draw pictures that need the weights in run folders, by file name without suffix.

        A tensor has the frames of an animation, ``[T, 3, H, W]`` in [0, 1].
        """
        return {}

    @abstractmethod
    def tables(self, stored: Path) -> Mapping[str, str]:
        """Return all tables in Markdown from stored runs, by name; the figures have been saved."""

    def update(self, docs: Path, runs: Path | None = None) -> list[Path]:
        """Store new runs, draw the figures and fill the tables of the pages.

        Args:
            docs: The folder of the documentation.
            runs: A folder of run folders to add; None adds none and draws no `pictures`.

        Returns:
            The pages.

        Raises:
            UserError: A page is missing, or there are no runs, or one cannot be read.
        """
        stored = docs / "results" / self.name
        pages = [docs / f"{self.name}.md", stored / "README.md"]
        for page in pages:
            if not page.is_file():
                raise UserError(f"There is no page {page}; choose another --docs.")
        if runs:
            store_runs(runs, stored, ["progress"], wanted=self.wants)
        elif not is_stored_study(stored):
            raise UserError(f"There are no runs in {stored}; name a folder of runs to add.")
        drawn = {**self.figures(stored), **(self.pictures(runs) if runs else {})}
        for name, picture in drawn.items():
            if isinstance(picture, Tensor):
                save_animation(picture, stored / f"{name}.gif")
            else:
                with atomic_write(stored / f"{name}.png") as path:
                    picture.savefig(path)
        tables = self.tables(stored)
        for page in pages:
            fill_tables(page, tables)
        return pages
