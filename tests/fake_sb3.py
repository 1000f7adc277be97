"""Write logs like those of Stable-Baselines3 and rl-zoo3, without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.results import RunResult

START = 1.7e9
SCORE = "rollout/ep_rew_mean"


def games_of(seed: int, n: int = 60, mean: float = 500.0) -> np.ndarray:
    """Return random games ``[games, 3]``: length in frames, seconds since the start, score."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(400, 800, n) * 4
    times = np.cumsum(lengths) / 8000 + rng.random(n) / 100
    return np.column_stack([lengths, times.round(6), (mean + 100 * rng.standard_normal(n)).round()])


def write_monitor(
    folder: Path,
    games: np.ndarray,
    *,
    start: float = START,
    env_id: str = "MsPacmanNoFrameskip-v4",
    name: str = "0.monitor.csv",
) -> Path:
    """Write a ``monitor.csv`` of games ``[games, 3]``."""
    folder.mkdir(parents=True, exist_ok=True)
    head = "#" + json.dumps({"t_start": start, "env_id": env_id})
    path = folder / name
    path.write_text("\n".join([head, "r,l,t", *map(row_of, games), ""]))
    return path


def row_of(game: Sequence[float]) -> str:
    """Return a game's row in a ``monitor.csv``."""
    length, seconds, score = game
    return f"{score},{length:.0f},{seconds}"


def write_events(folder: Path, points: np.ndarray, *, tag: str = SCORE, number: int = 0) -> Path:
    """Write an event file of points, step, time and value ``[points, 3]``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{points[0, 1]:.0f}.machine.{number}"
    with path.open("ab") as file:
        writer = RecordWriter(file)
        for step, time, score in points:
            event = Event(step=int(step), wall_time=time)
            event.summary.CopyFrom(Summary(value=[Summary.Value(tag=tag, simple_value=score)]))
            writer.write(event.SerializeToString())
    return path


def points_of(games: np.ndarray, every: int = 2000, start: float = START) -> np.ndarray:
    """Return logged points ``[points, 3]``: step, time and mean score of the last 100 games."""
    steps = games[:, 0].cumsum() / 4
    points = []
    for step in range(every, int(steps[-1]) + 1, every):
        n = int(np.searchsorted(steps, step, side="right"))
        if n:
            mean = games[max(0, n - 100) : n, 2].mean()
            points.append((step, start + step / 2000, mean))
    return np.array(points)


def write_zoo(
    folder: Path, settings: Mapping[str, object] | None = None, **arguments: object
) -> None:
    """Write rl-zoo3's ``args.yml`` and, with settings, its ``config.yml``."""
    inner = folder / "MsPacmanNoFrameskip-v4"
    inner.mkdir(parents=True, exist_ok=True)
    arguments = {"algo": "a2c", "env": "MsPacmanNoFrameskip-v4", **arguments}
    (inner / "args.yml").write_text(_ordered_dict(arguments))
    if settings is not None:
        (inner / "config.yml").write_text(_ordered_dict(settings))


def _ordered_dict(content: Mapping[str, object]) -> str:
    lines = ["!!python/object/apply:collections.OrderedDict"]
    for i, (key, value) in enumerate(content.items()):
        lines += [f"{'- ' if i == 0 else '  '}- - {key}", f"    - {value}"]
    return "\n".join([*lines, ""])


def only(*roots: Path) -> RunResult:
    """Return the only run below some folders."""
    (run,) = find_runs(roots).runs
    return run


def seeds(*roots: Path) -> dict[str, int]:
    """Return the number of runs of each variant."""
    comparisons = compare(find_runs(roots).runs)
    return {v.name: len(v.runs) for comparison in comparisons for v in comparison.variants}
