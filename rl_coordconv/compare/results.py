"""Read the games and evaluations of a run into arrays."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rl_coordconv.runs.config import MAY_CHANGE_ON_RESUME, UserError
from rl_coordconv.runs.stored import StoredRun

Array = NDArray[np.float64]
XAxis = Literal["steps", "frames", "hours"]
Measure = Literal["training", "evaluation", "area"]
"""Scores: of the last 100 training games, of the final evaluation, or averaged over training."""

FRAMES_PER_STEP = 4
GAMES_PER_SCORE = 100  # as in Schulman et al. 2017
POINTS = 200  # per curve
_LATER = 1.02  # an evaluation up to 2% after a step counts for it
_NO_COINCIDENCE = 10  # equal rows that show that two logs are from one run
_ENOUGH_MEANS = 3  # distinct means that must agree
_PAUSE_SECONDS = 600  # after a longer gap between two games, the run had been stopped
# Attributes of a `RunResult`, and settings that do not affect a run's results.
_NOT_SETTINGS = MAY_CHANGE_ON_RESUME | {"experiment", "seed", "extractor", "env", "protocol"}


class BrokenRun(Exception):
    """Raised for a run that cannot be used; the message completes ``FOLDER: ...``."""


class NotARun(Exception):
    """Raised for a run without an agent, such as a toy run."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """The games and evaluations of one run.

    Attributes:
        folder: The run's folder.
        algorithm: In lower case, such as ``a2c``.
        game: The game's name, such as ``MsPacman``.
        variant: The extractor's name, or a name for SB3 logs.
        seed: The seed; the folder's name for SB3 logs whose seed is unknown.
        protocol: ``classic``, ``sticky`` or ``unknown``.
        steps: Agent steps over all environments when each game ended ``[games]``, ascending.
        times: Unix time when each game ended ``[games]``; zeros if not known.
        returns: Unclipped scores of whole games ``[games]``.
        window: Games to average for a score: 100, or 1 if ``returns`` are running means already.
        evaluation_steps: The step of each evaluation game ``[evaluation games]``.
        evaluation_returns: The score of each evaluation game ``[evaluation games]``.
        settings: The settings of the run by name; empty if unknown.
        versions: The package versions it was trained with; empty if unknown.
        from_sb3: Whether it was read from SB3 logs, which this package did not write.
        files: The files it was read from, or the folder of a run of this package.
        notes: Remarks to show in the report.
    """

    folder: Path
    algorithm: str
    game: str
    variant: str
    seed: str
    protocol: str
    steps: Array
    times: Array
    returns: Array
    window: int
    evaluation_steps: Array
    evaluation_returns: Array
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    from_sb3: bool = False
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> Array:
        """Hours of training until each game ended ``[games]``, without pauses."""
        return hours_without_pauses(self.times)

    @property
    def last_step(self) -> float:
        """The step of the last game or evaluation."""
        return float(max([*self.steps[-1:], *self.evaluation_steps[-1:]]))

    def axis(self, x: XAxis) -> Array:
        """Return the x-value of the end of each training game ``[games]``."""
        if x == "hours":
            return self.hours
        return self.steps * FRAMES_PER_STEP if x == "frames" else self.steps

    def grid(self, x: XAxis) -> Array:
        """Return the x-values of the run's learning curve.

        The curve starts after 20 games, as the mean of fewer is too noisy.
        """
        games = self.axis(x)
        return np.linspace(games[min(self.window // 5, len(games) - 1)], games[-1], POINTS)

    def score_at(self, points: Array, x: XAxis = "steps") -> Array:
        """Return the mean score of the last 100 training games at points of an axis ``[points]``.

        It is the mean of all games where there are fewer, and NaN before the first.
        """
        count = np.searchsorted(self.axis(x), points, side="right")
        first = np.maximum(count - self.window, 0)
        sums = np.concatenate([[0.0], np.cumsum(self.returns)])
        with np.errstate(invalid="ignore"):
            return np.asarray((sums[count] - sums[first]) / (count - first))

    def final_score(self, step: float) -> float:
        """Return the mean score of the last 100 training games at a step; NaN before the first."""
        return float(self.score_at(np.array([step]))[0])

    def evaluation_score(self, step: float) -> float:
        """Return the mean score of the last evaluation at most 2% after a step; NaN without one."""
        before = self.evaluation_steps[self.evaluation_steps <= _LATER * step]
        if not before.size:
            return float("nan")
        return float(self.evaluation_returns[self.evaluation_steps == before[-1]].mean())

    def n_games(self, measure: Measure, step: float) -> int:
        """Return the number of games averaged for the score at a step; 100 if it is unknown."""
        if measure == "evaluation":
            steps = self.evaluation_steps
            before = steps[steps <= _LATER * step]
            return int((steps == before[-1]).sum()) if before.size else 0
        games = int((self.steps <= step).sum())
        return GAMES_PER_SCORE if self.window == 1 and games else min(games, GAMES_PER_SCORE)

    def mean_score(self, step: float) -> float:
        """Return the area under the learning curve up to a step, divided by its length."""
        if not self.steps.size or self.steps[0] > step:
            return float("nan")
        x = np.linspace(self.steps[0], step, 500)
        return float(self.score_at(x).mean())

    def first_step(self, score: float) -> float:
        """Return the first step at which the mean of the last 100 games reaches a score, or NaN."""
        means = self.score_at(self.steps)
        # The mean of a handful of games at the start may reach it by luck.
        means[: min(self.window, len(means)) - 1] = -np.inf
        reached = np.flatnonzero(means >= score)
        return float(self.steps[reached[0]]) if reached.size else float("nan")


def algorithm_name(algorithm: str) -> str:
    """Return the name of an algorithm in text.

    >>> [algorithm_name(name) for name in ("a2c", "apex", "unknown")]
    ['A2C', 'Ape-X', 'Unknown algorithm']
    """
    return {"apex": "Ape-X", "unknown": "Unknown algorithm"}.get(algorithm, algorithm.upper())


def read_run(run: StoredRun) -> RunResult:
    """Read the games and evaluations of a run of this package, finished or not.

    Raises:
        BrokenRun: It cannot be used.
        NotARun: It has no agent.
    """
    settings = run.settings
    if not {"env", "extractor", "seed"} <= settings.keys():
        raise NotARun
    if "episodes" not in run.tables:
        raise BrokenRun("it has no episodes.csv yet")
    columns = ("step", "wall_time", "episode_return")
    games, notes = read_columns(run.tables["episodes"], "episodes.csv", columns)
    if not len(games):
        raise BrokenRun("no game is finished yet")
    evaluation_steps, evaluation_returns = _read_evaluations(run)
    not_settings = set(_NOT_SETTINGS)
    if "linear" not in settings.values():
        not_settings.add("total_timesteps")  # it affects only the length
    return RunResult(
        folder=run.folder,
        algorithm=settings["experiment"],
        game=str(settings["env"]),
        variant=str(settings["extractor"]),
        seed=str(settings["seed"]),
        protocol=str(settings.get("protocol", "unknown")),
        steps=games[:, 0],
        times=games[:, 1],
        returns=games[:, 2],
        window=GAMES_PER_SCORE,
        evaluation_steps=evaluation_steps,
        evaluation_returns=evaluation_returns,
        settings={key: value for key, value in settings.items() if key not in not_settings},
        versions=run.versions,
        files=(run.folder,),
        notes=notes,
    )


def read_columns(text: str, name: str, columns: Sequence[str]) -> tuple[Array, tuple[str, ...]]:
    """Read columns of numbers from a CSV file, skipping damaged rows.

    An incomplete last row, repeated headers, and NUL bytes left by a power cut are skipped too.

    Args:
        text: The file's content.
        name: The file's name.
        columns: The names of the columns.

    Returns:
        The finite rows ``[rows, columns]``, and notes about rows that were left out.

    Raises:
        BrokenRun: The file is damaged.
    """
    *lines, _torn = re.split("\r\n|\n|\r", text.lstrip("\ufeff").replace("\0", ""))
    lines = [line for line in lines if line.strip()]
    head = lines[0].strip() if lines else ""
    names = next(csv.reader([head]), [])
    missing = [column for column in columns if column not in names]
    if missing:
        raise BrokenRun(f"{name} has no column {missing[0]}")
    body = [line for line in lines[1:] if line.strip() != head and not line.startswith("#")]
    places = [names.index(column) for column in columns]
    if not body:
        return np.empty((0, len(columns))), ()
    notes: list[str] = []
    try:
        rows = np.loadtxt(body, delimiter=",", usecols=places, ndmin=2, quotechar='"')
    except ValueError:
        parsed = [_parse(line, places) for line in body]
        rows = np.array([row for row in parsed if row]).reshape(-1, len(columns))
        if not len(rows):
            raise BrokenRun(f"{name} is damaged") from None
        if lost := len(body) - len(rows):
            notes.append(f"{lost} of {len(body):,} rows of {name} are damaged and left out")
    finite = np.isfinite(rows).all(axis=1)
    if lost := int(len(rows) - finite.sum()):
        notes.append(
            f"{lost} of {len(rows):,} rows of {name} contain NaN or infinity and are left out"
        )
    return rows[finite], tuple(notes)


def _parse(line: str, places: Sequence[int]) -> list[float]:
    """Return the numbers in some columns of a CSV line; empty if it is damaged."""
    try:
        (fields,) = csv.reader([line])
        return [float(fields[place]) for place in places]
    except (ValueError, IndexError, csv.Error):
        return []


def shared(a: Array, b: Array) -> bool:
    """Return whether two tables of the same columns are logs of one run.

    They are if one contains 90% of the other's rows, or if both start with the same ten rows.
    """
    n = min(len(a), len(b))
    if not n or a[:, 0].max() < b[:, 0].min() or b[:, 0].max() < a[:, 0].min():
        return False
    if n >= _NO_COINCIDENCE and np.array_equal(a[:_NO_COINCIDENCE], b[:_NO_COINCIDENCE]):
        return True
    rows = {row.tobytes() for row in np.ascontiguousarray(a)}
    return sum(row.tobytes() in rows for row in np.ascontiguousarray(b)) >= 0.9 * n


def is_part(a: Array, b: Array) -> bool:
    """Return whether the rows of one table are consecutive rows of the other.

    Fewer than ten distinct rows may agree by chance, so the answer is no.
    """
    if len(a) > len(b):
        a, b = b, a
    if len(np.unique(a, axis=0)) < _NO_COINCIDENCE:
        return False
    places = np.flatnonzero((b[: len(b) - len(a) + 1] == a[0]).all(axis=1))
    return any(np.array_equal(a, b[place : place + len(a)]) for place in places)


def has_means(games: Array, points: Array) -> bool:
    """Return whether points are mean scores of the last 100 games at the same times.

    The means may leave out games before the points, as SB3 does if ``learn()`` is called again.

    Args:
        games: Unix time at the end, and score ``[games, 2]``.
        points: Unix time and mean ``[points, 2]``.
    """
    games = games[np.argsort(games[:, 0], kind="stable")]
    last = np.searchsorted(games[:, 0], points[:, 0], side="right")
    sums = np.concatenate([[0.0], np.cumsum(games[:, 1])])
    interval = np.diff(points[:2, 0]).sum()
    for begin in (0, int(np.searchsorted(games[:, 0], points[0, 0] - interval))):
        first = np.maximum(last - GAMES_PER_SCORE, begin)
        known = last > first
        means = (sums[last] - sums[first])[known] / (last - first)[known]
        same = np.isclose(means, points[known, 1], rtol=1e-5)
        if len(np.unique(points[known, 1][same])) >= _ENOUGH_MEANS and same.mean() >= 0.8:
            return True
    return False


def hours_without_pauses(seconds: Array) -> Array:
    """Return the hours of training since the first game, without gaps of over ten minutes.

    >>> hours_without_pauses(np.array([0.0, 360.0, 90000.0, 90360.0])).tolist()
    [0.0, 0.1, 0.1, 0.2]
    """
    passed = np.diff(seconds, prepend=seconds[:1])
    passed[(passed > _PAUSE_SECONDS) | (passed < 0)] = 0
    return np.asarray(passed.cumsum() / 3600)


def _read_evaluations(run: StoredRun) -> tuple[Array, Array]:
    """Return step and score of the evaluation games that count, sorted by step.

    Only games under the run's own protocol with the stochastic policy count, and none of the best
    checkpoint, because it was selected by its score. Games that ``evaluate.py`` played after
    training, with any seed, replace those played during training at the same step if there are at
    least as many. Equal games of two checkpoints with one seed count once, because one agent was
    saved twice.
    """
    games_by_step: dict[float, dict[str, dict[str, Counter[tuple[float, str]]]]] = {}
    own = run.settings.get("protocol")
    try:
        for row in run.rows("evaluations"):
            is_stochastic = (row.get("policy") or "stochastic") == "stochastic"
            checkpoint = row.get("checkpoint") or ""  # older versions have no such column
            if (row.get("protocol") or own) == own and is_stochastic and checkpoint != "best":
                by_seed = games_by_step.setdefault(float(row["step"]), {})
                by_checkpoint = by_seed.setdefault(row.get("seed") or "training", {})
                game = float(row["episode_return"]), row.get("length_frames", "")
                by_checkpoint.setdefault(checkpoint, Counter())[game] += 1
    except (UserError, KeyError, ValueError):
        raise BrokenRun("evaluations.csv is damaged") from None
    steps, scores = [], []
    for step, by_seed in sorted(games_by_step.items()):
        training = _scores(by_seed.pop("training", {}))
        later = [score for by_checkpoint in by_seed.values() for score in _scores(by_checkpoint)]
        games = later if len(later) >= len(training) else training
        finite = [score for score in games if np.isfinite(score)]
        steps += [step] * len(finite)
        scores += finite
    return np.array(steps, dtype=float), np.array(scores, dtype=float)


def _scores(games_by_checkpoint: Mapping[str, Counter[tuple[float, str]]]) -> list[float]:
    """Return the score of every game; one that several checkpoints have counts once."""
    games = reduce(or_, games_by_checkpoint.values(), Counter[tuple[float, str]]())
    return [score for score, _ in games.elements()]
