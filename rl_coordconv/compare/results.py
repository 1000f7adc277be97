"""What one run achieved, as arrays; reads this package's own run folders."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from rl_coordconv.runs.folder import CIRCUMSTANCES, Run

Array = NDArray[np.float64]

FRAMES_PER_STEP = 4
GAMES_PER_SCORE = 100  # as in Schulman et al. 2017
_PAUSE_SECONDS = 600  # a longer silence between two games is a run that was stopped
# What a `RunResult` tells by itself, and what computes and watches a run, not what it is.
_NOT_SETTINGS = {
    *("seed", "extractor", "env", "protocol", *CIRCUMSTANCES),
    *("eval_freq", "eval_episodes", "save_freq", "log_interval"),
}


class BrokenRun(Exception):
    """A folder of a run that cannot be used; the text is the end of a sentence about it."""


class NotARun(Exception):
    """A folder whose ``config.yaml`` is not that of a trained agent."""


@dataclass(frozen=True)
class RunResult:
    """One run. A training game is one value of `steps`, `hours` and `returns` each.

    Attributes:
        folder: Where it lies.
        algorithm: In lower case, as ``a2c``.
        game: As ``MsPacman``.
        arm: What the comparison is about: the extractor's name, or a name for others' runs.
        seed: A number; for others' runs the folder's name where no number is known.
        protocol: ``classic``, ``sticky`` or ``unknown``.
        steps: Agent steps over all environments when the game ended ``[games]``, ascending.
        hours: Of training until then ``[games]``, pauses left out; empty if not known.
        returns: Scores of whole games ``[games]``.
        window: How many of these make a score: 100, or 1 where they are means already.
        evaluation_steps: The step of each evaluation game ``[evaluation games]``.
        evaluation_returns: Its score.
        settings: What it was trained with, by name; empty if not known.
        is_foreign: Whether something else than this package wrote it.
        notes: Sentences that a reader of its numbers must know.
    """

    folder: Path
    algorithm: str
    game: str
    arm: str
    seed: str
    protocol: str
    steps: Array
    hours: Array
    returns: Array
    window: int
    evaluation_steps: Array
    evaluation_returns: Array
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_foreign: bool = False
    notes: tuple[str, ...] = ()

    @property
    def last_step(self) -> float:
        """How far it got."""
        return float(max([*self.steps[-1:], *self.evaluation_steps[-1:]]))

    def score_at(self, x: Array, *, over_hours: bool = False) -> Array:
        """The mean of the last 100 training games up to each step (or hour) ``[points]``.

        Of all games where there are fewer yet; NaN before the first.
        """
        axis = self.hours if over_hours else self.steps
        count = np.searchsorted(axis, x, side="right")
        first = np.maximum(count - self.window, 0)
        sums = np.concatenate([[0.0], np.cumsum(self.returns)])
        with np.errstate(invalid="ignore"):
            return np.asarray((sums[count] - sums[first]) / (count - first))

    def final_score(self, step: float) -> float:
        """The score at a step; NaN if no training game is known up to there."""
        return float(self.score_at(np.array([step]))[0])

    def evaluation_score(self, step: float) -> float:
        """The mean of the last evaluation up to a step, or 2% later; NaN if there was none."""
        before = self.evaluation_steps[self.evaluation_steps <= 1.02 * step]
        if not before.size:
            return float("nan")
        return float(self.evaluation_returns[self.evaluation_steps == before[-1]].mean())

    def mean_score(self, step: float) -> float:
        """The area under the score's curve up to a step, divided by its length."""
        if not self.steps.size or self.steps[0] > step:
            return float("nan")
        x = np.linspace(self.steps[0], step, 500)
        return float(self.score_at(x).mean())

    def first_step(self, score: float) -> float:
        """The first step whose last 100 games reach a score on average; NaN if none does."""
        means = self.score_at(self.steps)
        # The mean of a handful of games at the start may reach it by luck.
        means[: min(self.window, len(means)) - 1] = -np.inf
        reached = np.flatnonzero(means >= score)
        return float(self.steps[reached[0]]) if reached.size else float("nan")


def read_run(folder: Path) -> RunResult:
    """Read a run of this package, finished or not.

    Raises:
        BrokenRun: It cannot be used.
        NotARun: It is something else.
    """
    run = Run(folder)
    try:
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        assert isinstance(config, dict)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AssertionError):
        raise BrokenRun("its config.yaml is damaged") from None
    if not {"env", "extractor", "seed"} <= config.keys():
        raise NotARun
    if not any(path.exists() for path in (run.episodes, packed(run.episodes))):
        raise BrokenRun("it has no episodes.csv yet")
    rows = read_columns(run.episodes, ("step", "wall_time", "episode_return"))
    games, notes = finite_rows(rows, run.episodes)
    if not len(games):
        raise BrokenRun("no game is finished yet")
    evaluation_steps, evaluation_returns = _read_evaluations(run.evaluations, config)
    return RunResult(
        folder=folder,
        algorithm="ppo" if "clip_range" in config else "a2c",  # folders may be moved
        game=str(config["env"]),
        arm=str(config["extractor"]),
        seed=str(config["seed"]),
        protocol=str(config.get("protocol", "unknown")),
        steps=games[:, 0],
        hours=hours_without_pauses(games[:, 1]),
        returns=games[:, 2],
        window=GAMES_PER_SCORE,
        evaluation_steps=evaluation_steps,
        evaluation_returns=evaluation_returns,
        settings={key: value for key, value in config.items() if key not in _NOT_SETTINGS},
        notes=notes,
    )


def packed(path: Path) -> Path:
    """Where a log lies if it is kept compressed."""
    return path.with_name(f"{path.name}.gz")


def read_text(path: Path) -> str:
    """What is in a log, compressed or not."""
    if path.exists():
        return path.read_text(encoding="utf-8")
    return gzip.decompress(packed(path).read_bytes()).decode("utf-8")


def read_columns(path: Path, columns: Sequence[str], *, skip: bool = False) -> Array:
    """Columns of a CSV file of numbers ``[rows, columns]``; a torn last row is left out.

    Args:
        path: The file.
        columns: Their names.
        skip: Whether a line stands above the names.

    Raises:
        BrokenRun: It is no such file.
    """
    try:
        text = read_text(path)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error):
        raise BrokenRun(f"{path.name} cannot be read") from None
    whole = text[: text.rfind("\n") + 1]
    head, _, body = (whole.partition("\n")[2] if skip else whole).partition("\n")
    names = head.strip().split(",")
    missing = [name for name in columns if name not in names]
    if missing:
        raise BrokenRun(f"{path.name} has no column {missing[0]}")
    if not body.strip():
        return np.empty((0, len(columns)))
    try:
        places = [names.index(name) for name in columns]
        return np.loadtxt(body.splitlines(), delimiter=",", usecols=places, ndmin=2)
    except ValueError:
        raise BrokenRun(f"{path.name} is damaged") from None


def finite_rows(rows: Array, path: Path) -> tuple[Array, tuple[str, ...]]:
    """The rows that hold numbers only, and a note about the others."""
    whole = np.isfinite(rows).all(axis=1)
    lost = int(len(rows) - whole.sum())
    note = f"{lost} of {len(rows):,} rows of {path.name} hold NaN or infinity and are left out"
    return rows[whole], (note,) if lost else ()


def hours_without_pauses(seconds: Array) -> Array:
    """Hours since the first game, without the time in which a run was stopped.

    >>> hours_without_pauses(np.array([0.0, 360.0, 90000.0, 90360.0])).tolist()
    [0.0, 0.1, 0.1, 0.2]
    """
    passed = np.diff(seconds, prepend=seconds[:1])
    passed[(passed > _PAUSE_SECONDS) | (passed < 0)] = 0
    return np.asarray(passed.cumsum() / 3600)


def _read_evaluations(path: Path, config: Mapping[str, Any]) -> tuple[Array, Array]:
    """Steps and scores of the evaluation games that count, by step.

    They are those of the run's own protocol and of the stochastic policy. Games that
    ``evaluate.py`` played afterwards, with whatever seeds, replace those of the training at the
    same step if they are as many.
    """
    groups: dict[float, dict[str, list[float]]] = {}
    if path.exists():
        text = path.read_text(encoding="utf-8")
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            protocol = row.get("protocol") or config.get("protocol")
            is_stochastic = (row.get("policy") or "stochastic") == "stochastic"
            if protocol != config.get("protocol") or not is_stochastic:
                continue
            try:
                step, score = float(row["step"]), float(row["episode_return"])
            except (KeyError, TypeError, ValueError):
                raise BrokenRun("evaluations.csv is damaged") from None
            seed = row.get("seed") or "training"
            groups.setdefault(step, {}).setdefault(seed, []).append(score)
    steps, scores = [], []
    for step, by_seed in sorted(groups.items()):
        training = by_seed.pop("training", [])
        later = [score for games in by_seed.values() for score in games]
        games = later if len(later) >= len(training) else training
        finite = [score for score in games if np.isfinite(score)]
        steps += [step] * len(finite)
        scores += finite
    return np.array(steps, dtype=float), np.array(scores, dtype=float)
