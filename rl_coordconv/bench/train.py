"""How fast a training is, and what it takes: ours, plain Stable-Baselines3's, and the limit."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from rl_coordconv.bench import baseline, upper_bound
from rl_coordconv.bench.processes import Candidate, Interval, interleave_processes
from rl_coordconv.bench.timing import RATIO, SPEED, Spread, aligned, ratios
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import versions

VARIANTS: Mapping[str, Sequence[str]] = {
    "DummyVecEnv, 1 thread": ["--vec-env", "dummy", "--num-threads", "1"],
    "DummyVecEnv, all threads": ["--vec-env", "dummy"],
    "SubprocVecEnv, 1 thread": ["--vec-env", "subproc", "--num-threads", "1"],
    "SubprocVecEnv, all threads": ["--vec-env", "subproc"],
}
"""Ways to run plain Stable-Baselines3. The fastest on this machine is the one to beat."""

CHOICE_ROUNDS = 5
EXTRACTORS = ("nature", "coordconv")
PRECISIONS = ("float32", "bf16")

_Starts = dict[str, Callable[[], Candidate]]


def run(repeats: int, scripts: Path, algorithm: str, seconds: float) -> dict[str, Any]:
    """Let trainings on Ms. Pac-Man take intervals, each in a process of its own.

    Args:
        repeats: Rounds that count.
        scripts: The folder of ``train_a2c.py`` and ``train_ppo.py``, beside ``configs``.
        algorithm: ``a2c`` or ``ppo``.
        seconds: How long an interval lasts at least.

    Returns:
        What was measured and on what, as JSON holds it: every interval, and their `summary`.

    Raises:
        UserError: There is nothing to measure, or a process ended early.
    """
    if repeats < 1:
        raise UserError(f"repeats must be at least 1, not {repeats}.")
    if not 0 < seconds < math.inf:
        raise UserError(f"seconds must be above 0 and finite, not {seconds}.")
    variants: _Starts = {
        name: partial(Candidate, Path(baseline.__file__), [algorithm, *flags], seconds)
        for name, flags in VARIANTS.items()
    }
    choice = {
        name: _speeds(intervals)
        for name, intervals in interleave_processes(variants, CHOICE_ROUNDS).items()
    }
    fastest = max(choice, key=lambda name: median(choice[name]))
    with TemporaryDirectory() as folder:
        trainings = _trainings(scripts / f"train_{algorithm}.py", Path(folder), seconds)
        parts = _parts(algorithm, scripts.parent / "configs" / f"{algorithm}.yaml", seconds)
        intervals = interleave_processes(
            {"baseline": variants[fastest], **trainings, **parts}, repeats
        )
    on_gpu = torch.cuda.is_available()
    return {
        **{"bench": "train", "algorithm": algorithm},
        **{"torch": torch.__version__, "versions": versions()},
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        **{"cores": os.cpu_count(), "repeats": repeats, "seconds": seconds, "baseline": fastest},
        "choice": {name: asdict(Spread.of(speeds)) for name, speeds in choice.items()},
        **summary(intervals, _libraries(), overlap=on_gpu),
        "intervals": intervals,
    }


def _trainings(script: Path, folder: Path, seconds: float) -> _Starts:
    """Ours, as a user runs them, with logs and checkpoints."""
    starts: _Starts = {}
    for precision in PRECISIONS:
        for extractor in EXTRACTORS:
            name = f"{extractor} {precision}"
            flags = ["--extractor", extractor, "--precision", precision]
            flags += ["--total-timesteps", str(10**9), "--log-dir", str(folder / name)]
            starts[name] = partial(Candidate, script, flags, seconds)
    return starts


def _parts(algorithm: str, config: Path, seconds: float) -> _Starts:
    """The parts of the limit; the network is the one without coordinates."""
    script, settings = Path(upper_bound.__file__), [algorithm, str(config)]
    # As in the training scripts.
    environ = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}
    starts: _Starts = {
        "environments": partial(Candidate, script, ["environments", *settings], seconds)
    }
    for precision in PRECISIONS:
        flags = ["--extractor", "nature", "--precision", precision]
        argv = ["network", *settings, *flags]
        starts[f"network {precision}"] = partial(Candidate, script, argv, seconds, environ)
    return starts


def _speeds(intervals: Sequence[Interval]) -> list[float]:
    """Steps per second of each interval."""
    return [interval["steps"] / interval["seconds"] for interval in intervals]


def _libraries() -> float:
    """MiB that a process takes which imports the libraries and does nothing else."""
    code = "import torch, stable_baselines3, ale_py; print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", code]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def summary(
    intervals: Mapping[str, Sequence[Interval]], libraries: float, *, overlap: bool
) -> dict[str, Any]:
    """What the intervals say; every ratio of speeds is taken within a round.

    Args:
        intervals: What `interleave_processes` returned.
        libraries: MiB that the libraries alone take.
        overlap: Whether games and network have a device each, see `upper_bound.upper_bound`.
    """
    speeds = {name: _speeds(values) for name, values in intervals.items()}
    for precision in PRECISIONS:
        parts = zip(speeds["environments"], speeds[f"network {precision}"], strict=True)
        speeds[f"upper bound {precision}"] = [
            upper_bound.upper_bound(*both, overlap=overlap) for both in parts
        ]
    peaks = {
        name: max(interval["memory"] for interval in values) for name, values in intervals.items()
    }
    to_baseline = ratios(speeds, "baseline")
    rows: list[dict[str, Any]] = [
        {
            "candidate": name,
            "steps_per_second": asdict(Spread.of(values)),
            "ratio": to_baseline[name],
        }
        for name, values in speeds.items()
    ]
    trainings = {"baseline": "float32"} | {f"{e} {p}": p for p in PRECISIONS for e in EXTRACTORS}
    for row in rows:
        name = row["candidate"]
        if name in trainings:
            row["share_of_upper_bound"] = ratios(speeds, f"upper bound {trainings[name]}")[name]
            row["memory_mib"] = peaks[name]
            row["memory_ratio"] = peaks[name] / peaks["baseline"]
            row["memory_ratio_beyond_imports"] = (peaks[name] - libraries) / (
                peaks["baseline"] - libraries
            )
    coordconv = {p: ratios(speeds, f"nature {p}")[f"coordconv {p}"] for p in PRECISIONS}
    return {"rows": rows, "coordconv_to_nature": coordconv, "imports_mib": libraries}


def table(report: dict[str, Any]) -> str:
    """A report in Markdown, aligned for a terminal."""
    head = ["candidate", "steps/s", "to stock's", "of the limit"]
    lines = [[*head, "memory, MiB", "to stock's", "above libraries"]]
    for row in report["rows"]:
        speed = SPEED.format(**row["steps_per_second"])
        line = [row["candidate"], speed, RATIO.format(**row["ratio"])]
        if "memory_mib" in row:
            memory = (row["memory_ratio"], row["memory_ratio_beyond_imports"])
            line += [f"{row['share_of_upper_bound']['median']:.0%}", f"{row['memory_mib']:,.0f}"]
            line += [f"{ratio:.2f}" for ratio in memory]
        lines.append([*line, *[""] * (len(lines[0]) - len(line))])
    pairs = [["precision", "coordconv / nature"]]
    pairs += [[p, RATIO.format(**ratio)] for p, ratio in report["coordconv_to_nature"].items()]
    return "\n\n".join([aligned(lines), aligned(pairs), _NOTE.format(**report)])


_NOTE = """\
{algorithm}, Ms. Pac-Man: median (quartiles) of {repeats} rounds of {seconds} s for each candidate;
torch {torch}, stable-baselines3 {versions[stable-baselines3]}, {device}, {cores} cores.
Ratios of speeds are taken within a round. The stock training is plain Stable-Baselines3, run in the
way that is fastest here: {baseline}. The limit plays the games (environments) and computes
our network, forward and backward for every update, and does nothing else. Memory is the most that
was held; the last column leaves out what importing the libraries takes: {imports_mib:.0f} MiB."""
