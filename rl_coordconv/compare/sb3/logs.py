"""Read the logs of a run of Stable-Baselines3 or rl-zoo3, and convert them to a `RunResult`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from rl_coordconv.compare.events import in_order, read_events
from rl_coordconv.compare.results import (
    FRAMES_PER_STEP,
    GAMES_PER_SCORE,
    Array,
    BrokenRun,
    RunResult,
)
from rl_coordconv.compare.sb3.files import (
    ZooArguments,
    names_evaluation,
    read_evaluations,
    read_monitor,
    read_zoo,
)
from rl_coordconv.compare.sb3.names import (
    ALGORITHM_TAGS,
    find_algorithm,
    find_game,
    find_seed,
    variant_name,
)

SCORE, EVALUATION, _SPEED = "rollout/ep_rew_mean", "eval/mean_reward", "time/fps"
_NEARLY = 0.98  # of the steps so far; a session that starts before this resumed an earlier step
# Their first value is nearly the same for all new models, whatever the seed.
STATES = ("train/entropy_loss", "train/ent_coef")
_SETTINGS = ("train/learning_rate", "train/clip_range")
_TAGS = (SCORE, EVALUATION, _SPEED, *STATES, *_SETTINGS)
_RUNNING_MEAN = (
    "the only score is rollout/ep_rew_mean, a running mean of 100 games; with some wrappers,"
    " rewards are clipped or games are single lives"
)
_ONLY_EVALUATED = "there are no training games, so evaluations are used instead"
_GREEDY = "evaluated by EvalCallback, which uses the deterministic policy by default"


@dataclass(frozen=True, eq=False)
class SB3Logs:
    """The logs of one run.

    Attributes:
        folder: The folder after which the run is named.
        files: The files.
        games: Session, length, Unix time and score of each training game ``[games, 4]``.
        watched: Unix time and score of each game in an evaluation monitor ``[games, 2]``.
        evaluations: Step and score of each game in ``evaluations.npz`` ``[games, 2]``.
        points: Step, time and value ``[points, 3]`` by TensorBoard tag; `in_order` sorts them.
        tags: The tags that were found.
        env_id: The environment's name; empty if no monitor has it.
        zoo: rl-zoo3's arguments.
        notes: Remarks to show in the report.
        problem: Why they cannot be used; empty if they can.
    """

    folder: Path
    files: tuple[Path, ...] = ()
    games: Array = field(default_factory=lambda: np.empty((0, 4)))
    watched: Array = field(default_factory=lambda: np.empty((0, 2)))
    evaluations: Array = field(default_factory=lambda: np.empty((0, 2)))
    points: dict[str, Array] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    env_id: str = ""
    zoo: ZooArguments = field(default_factory=ZooArguments)
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def kinds(self) -> list[str]:
        """The kinds of logs that are not empty."""
        tables = {"games": self.games, "watched": self.watched, "evaluations": self.evaluations}
        kinds = [kind for kind, table in tables.items() if len(table)]
        return kinds + ["points"] * any(map(len, self.points.values()))

    @cached_property
    def scores(self) -> Array:
        """The points of the running mean score of training games ``[points, 3]``."""
        return in_order(self.points.get(SCORE, np.empty((0, 3))))

    @cached_property
    def evaluated(self) -> Array:
        """The points of the mean evaluation score ``[points, 3]``."""
        return in_order(self.points.get(EVALUATION, np.empty((0, 3))))

    @cached_property
    def processes(self) -> set[str]:
        """The host name and process ID of each process that wrote its events."""
        names = (re.fullmatch(r"events\.out\.\w+\.\d+\.(.+\.\d+)\.\d+", f.name) for f in self.files)
        return {name[1] for name in names if name}

    @cached_property
    def logged(self) -> Array:
        """The points of the tag that was logged most often ``[points, 3]``."""
        return in_order(max(self.points.values(), key=len, default=np.empty((0, 3))))


def read_folder(folder: Path, root: Path) -> list[SB3Logs]:
    """Read each log file directly in a folder.

    Raises:
        BrokenRun: All of them are damaged.
        OSError: One of them cannot be read.
    """
    zoo = read_zoo(folder)
    names = folder.relative_to(root).parts
    logs: list[SB3Logs] = []
    problems: list[str] = []
    for path in sorted(folder.iterdir()):
        own = SB3Logs(folder, (path,), zoo=zoo)
        try:
            if path.name.endswith("monitor.csv"):
                monitor = read_monitor(path)
                own = replace(own, env_id=monitor.env_id, notes=monitor.notes)
                if names_evaluation((*names, path.name.removesuffix("monitor.csv"))):
                    logs.append(replace(own, watched=monitor.games[:, 2:]))
                else:
                    logs.append(replace(own, games=monitor.games))
            elif path.name == "evaluations.npz":
                logs.append(replace(own, evaluations=read_evaluations(path)))
            elif path.name.startswith("events.out.tfevents."):
                events = read_events(path, _TAGS, ALGORITHM_TAGS)
                logs.append(replace(own, points=events.points, tags=events.found))
        except BrokenRun as error:
            problems.append(str(error))
    if problems and not any(log.kinds for log in logs):
        raise BrokenRun(problems[0])
    first, *others = [log for log in logs if log.kinds] or logs[:1]
    notes = (*first.notes, *(f"{problem} and left out" for problem in problems))
    return [replace(first, notes=notes), *others]


def start(points: dict[str, Array]) -> float:
    """Return the Unix time of the first point; 0 if there is none."""
    return min((rows[0, 1] for rows in points.values() if len(rows)), default=0.0)


def join(logs: Sequence[SB3Logs], folder: Path | None = None) -> SB3Logs:
    """Join the logs of one run."""
    tags = dict.fromkeys(tag for log in logs for tag in log.points)
    empty = np.empty((0, 3))
    games = np.concatenate([log.games for log in logs])
    zoos = [log.zoo for log in logs if log.zoo != ZooArguments()]
    return SB3Logs(
        folder or logs[0].folder,
        tuple(file for log in logs for file in log.files),
        games[np.lexsort((games[:, 2], games[:, 0]))],  # by session, then by time
        np.concatenate([log.watched for log in logs]),
        np.concatenate([log.evaluations for log in logs]),
        {
            tag: np.unique(np.concatenate([log.points.get(tag, empty) for log in logs]), axis=0)
            for tag in tags
        },
        frozenset().union(*(log.tags for log in logs)),
        next((log.env_id for log in logs if log.env_id), ""),
        zoos[0] if zoos else ZooArguments(),
        tuple(dict.fromkeys(note for log in logs for note in log.notes)),
    )


def common_folder(logs: Iterable[SB3Logs]) -> Path:
    """Return the folder that the folders of some logs have in common."""
    return Path(os.path.commonpath([log.folder for log in logs]))


def means_of(evaluation: Array) -> Array:
    """Return step, 0 for the time, and mean score of each evaluation ``[evaluations, 3]``."""
    steps = np.unique(evaluation[:, 0])
    means = [evaluation[evaluation[:, 0] == step, 1].mean() for step in steps]
    return np.column_stack([steps, np.zeros_like(steps), means])


def as_run(log: SB3Logs, root: Path, label: str) -> RunResult:
    """Return the games and evaluations of one run.

    Args:
        log: Its logs.
        root: The folder given to the report.
        label: The root's part of the variant's name; see `root_labels`.

    Raises:
        BrokenRun: They contain no score.
    """
    if log.problem:
        raise BrokenRun(log.problem)
    folder = log.folder.resolve()  # "." has no name to guess from
    evaluation = log.evaluations if len(log.evaluations) else log.evaluated[:, [0, 2]]
    notes = log.notes
    window = GAMES_PER_SCORE
    if len(log.games):
        last = max([*log.logged[-1:, 0], *evaluation[-1:, 0]], default=float("nan"))
        games, note = _in_steps(log, last, log.env_id or str(folder))
        notes = (*notes, note)
        if len(log.watched) and not len(evaluation):
            evaluation = _at_steps(log.watched, games)
    elif len(log.scores):
        games, window, notes = log.scores, 1, (*notes, _RUNNING_MEAN)
    elif len(evaluation):
        games, window, notes = means_of(evaluation), 1, (*notes, _ONLY_EVALUATED)
    elif len(log.watched):
        raise BrokenRun("it has only evaluation games, whose training steps are unknown")
    else:
        raise BrokenRun("none of its logs contains a score yet")
    if len(evaluation):
        notes = (*notes, _GREEDY)
    parents = {file.parent.resolve(): None for file in log.files}
    common = Path(os.path.commonpath([folder, *parents]))
    inner = [part for path in (folder, *parents) for part in path.relative_to(common).parts[::-1]]
    names = [*inner, *common.parts[::-1]]
    game, protocol = find_game([log.zoo.named.get("env", ""), log.env_id, *names])
    below = _names_below(root, log)
    settings = dict(log.zoo.settings)
    extractor = settings.pop("extractor", "")
    for tag in _SETTINGS:
        points = in_order(log.points.get(tag, np.empty((0, 3))))
        if len(points) and not log.zoo.settings:
            settings[tag.removeprefix("train/")] = float(f"{points[0, 2]:.2g}")
    return RunResult(
        folder=log.folder,
        algorithm=find_algorithm(log.zoo.named.get("algo", ""), names, log.tags),
        game=game,
        variant=variant_name("" if extractor == "default" else extractor, below, label),
        seed=log.zoo.named.get("seed") or find_seed([folder.name, *below[::-1]]) or folder.name,
        protocol=protocol,
        steps=games[:, 0],
        times=games[:, 1],
        returns=games[:, 2],
        window=window,
        evaluation_steps=evaluation[:, 0],
        evaluation_returns=evaluation[:, 1],
        settings=settings | ({"extractor": extractor} if extractor else {}),
        from_sb3=True,
        files=log.files,
        notes=notes,
    )


def _names_below(root: Path, log: SB3Logs) -> tuple[str, ...]:
    """Return the names of the folders from a root to a run, without SB3's run number.

    SB3 writes events to ``<tb_log_name>_<n>``, where n starts at 1.
    """
    names = log.folder.resolve().relative_to(root.resolve()).parts
    name, _, number = log.folder.resolve().name.rpartition("_")
    has_events = any(f.parent == log.folder and f.name.startswith("events.") for f in log.files)
    if not (names and has_events and number.isdecimal()):
        return names
    earlier = (log.folder.with_name(f"{name}_{n}") for n in range(1, int(number)))
    return (*names[:-1], name) if all(map(Path.is_dir, earlier)) else names


def _in_steps(log: SB3Logs, last_step: float, name: str) -> tuple[Array, str]:
    """Return step, Unix time and score of games ``[games, 3]``, and a note about the unit.

    Lengths in a monitor are in frames with Stable-Baselines3's Atari wrappers, else in steps. The
    last step of the other logs shows which, or else the environment's name.
    """
    if np.isfinite(last_step):
        in_frames = log.games[:, 1].sum() > 2 * last_step
        reason = "judging by the last step of the other logs"
    else:
        in_frames = "NoFrameskip" in name
        reason = "judging by the environment's name"
    divisor = FRAMES_PER_STEP if in_frames else 1
    unit = "frames" if in_frames else "steps"
    games = log.games / [1, divisor, 1, 1]
    note = f"lengths in its monitor.csv are assumed to be {unit}, {reason}"
    return _resumed(games, last_step), note


def _resumed(games: Array, last_step: float) -> Array:
    """Return step, Unix time and score of the games of all sessions ``[games, 3]``.

    If their lengths add up to more than the last step, the last session resumed an earlier step,
    and replaces the games after it. (The times of appended sessions are unknown.)

    Args:
        games: Session, length in steps, Unix time and score ``[games, 4]``.
        last_step: The last step of the other logs; NaN if unknown.
    """
    is_last = games[:, 0] == games[-1, 0]
    steps = games[:, 1].cumsum()
    before = games[~is_last, 1].sum()
    start = last_step - games[is_last, 1].sum()
    if 0 <= start < _NEARLY * before:
        steps[is_last] += start - before
    else:
        start = before
    kept: Array = np.column_stack([steps, games[:, 2:]])[is_last | (steps <= start)]
    return kept


def _at_steps(watched: Array, games: Array) -> Array:
    """Return step and score of evaluation games, with steps interpolated by time."""
    steps = np.interp(watched[:, 0], games[:, 1], games[:, 0])
    return np.column_stack([steps, watched[:, 1]])
