"""Measure speed and memory of training against plain Stable-Baselines3 and an upper bound."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

import rl_coordconv
from rl_coordconv.bench import baseline, upper_bound
from rl_coordconv.bench.processes import Candidate, Interval, running
from rl_coordconv.bench.timing import Report, Table, interleave, make_report, ratios, spreads
from rl_coordconv.experiments import CONFIGS, ENVIRONMENT

BASELINES: Mapping[str, Sequence[str]] = {
    "DummyVecEnv, 1 thread": ["DummyVecEnv", "1"],
    "DummyVecEnv, all threads": ["DummyVecEnv", "0"],
    "SubprocVecEnv, 1 thread": ["SubprocVecEnv", "1"],
    "SubprocVecEnv, all threads": ["SubprocVecEnv", "0"],
}
"""Arguments of `baseline`. The baseline is the fastest of these on this machine."""

QUICK_BASELINES = ("DummyVecEnv, 1 thread", "SubprocVecEnv, 1 thread")
BASELINE_ROUNDS = 5
QUICK_ROUNDS, QUICK_SECONDS = 2, 0.3
EXTRACTORS = ("nature", "coordconv")
PRECISIONS = ("float32", "bf16")
# Without instructions for bf16, a CPU needs half a minute for a rollout of PPO.
QUICK_PRECISIONS = PRECISIONS[:1]


def run(repeats: int, algorithm: str, seconds: float, *, quick: bool = False) -> Report:
    """Measure training on Ms. Pac-Man side by side, each candidate in its own process.

    Args:
        repeats: Number of measured rounds, at least 1.
        algorithm: ``a2c`` or ``ppo``.
        seconds: Minimum length of an interval, above 0.
        quick: Measure a few short rounds of float32 instead, with fewer baselines to choose from.

    Raises:
        UserError: A process ended early.
    """
    rounds = 1 if quick else BASELINE_ROUNDS
    if quick:
        repeats, seconds = QUICK_ROUNDS, QUICK_SECONDS
    baselines = {
        name: Candidate(Path(baseline.__file__), [algorithm, *BASELINES[name]], seconds)
        for name in (QUICK_BASELINES if quick else BASELINES)
    }
    with TemporaryDirectory() as folder:
        precisions = QUICK_PRECISIONS if quick else PRECISIONS
        candidates = _candidates(algorithm, precisions, Path(folder), seconds)
        with running(baselines | candidates) as works:
            choice = interleave({name: works[name] for name in baselines}, rounds, 0, "Choosing")
            speeds = {name: _speeds(intervals) for name, intervals in choice.items()}
            fastest = max(speeds, key=lambda name: median(speeds[name]))
            race = {"baseline": works[fastest]} | {name: works[name] for name in candidates}
            intervals = interleave(race, repeats, 0, "Measuring")
    on_gpu, imports = torch.cuda.is_available(), _imports_mib()
    device = torch.cuda.get_device_name() if on_gpu else "cpu"
    note = f"""\
{algorithm}, Ms. Pac-Man, {device}, intervals of {seconds} s. The baseline is plain
Stable-Baselines3 with its fastest settings on this machine: {fastest}. The upper bound only plays
the games (environments) and computes our network's forward and backward passes. Memory is the peak.
The last column is the ratio of memory to the baseline's, both without the {imports:.0f} MiB that
importing the libraries takes."""
    setting = {"algorithm": algorithm, "device": device, "seconds": seconds, "baseline": fastest}
    numbers, tables = summarise(intervals, imports, overlap=on_gpu)
    measured = {"baselines": spreads(speeds), "imports_mib": imports, "intervals": intervals}
    return make_report(repeats, {**setting, **numbers, **measured}, tables, note)


def _candidates(
    algorithm: str, precisions: Sequence[str], folder: Path, seconds: float
) -> dict[str, Candidate]:
    """Return our training commands, and the two parts of the upper bound."""
    program = Path(rl_coordconv.__file__).with_name("__main__.py")
    candidates = {}
    for precision in precisions:
        for extractor in EXTRACTORS:
            name = f"{extractor} {precision}"
            flags = [f"train-{algorithm}", "--extractor", extractor, "--precision", precision]
            flags += ["--total-timesteps", str(10**9), "--log-dir", str(folder / name)]
            candidates[name] = Candidate(program, flags, seconds, ENVIRONMENT)
    part = Path(upper_bound.__file__)
    argv = [algorithm, str(CONFIGS / f"{algorithm}.yaml")]
    candidates["environments"] = Candidate(part, ["environments", *argv], seconds)
    for precision in precisions:
        flags = ["--extractor", "nature", "--precision", precision]
        network = Candidate(part, ["network", *argv, *flags], seconds, ENVIRONMENT)
        candidates[f"network {precision}"] = network
    return candidates


def _speeds(intervals: Sequence[Interval]) -> list[float]:
    """Return the steps per second of each interval."""
    return [interval.steps / interval.seconds for interval in intervals]


def _imports_mib() -> float:
    """Return the peak memory of a process that only imports the libraries, in MiB."""
    code = "import torch, stable_baselines3, ale_py; print(open('/proc/self/status').read())"
    command = [sys.executable, "-c", code]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def summarise(
    intervals: Mapping[str, Sequence[Interval]], imports: float, *, overlap: bool
) -> tuple[dict[str, object], list[Table]]:
    """Compare all candidates with the baseline and the upper bound, within each round.

    Args:
        intervals: The intervals of each candidate, one per round.
        imports: Memory that importing the libraries takes, in MiB.
        overlap: Whether games and network run at the same time; see `upper_bound.upper_bound`.

    Returns:
        The numbers for JSON, and two tables for printing.
    """
    speeds = {name: _speeds(values) for name, values in intervals.items()}
    precisions = [precision for precision in PRECISIONS if f"network {precision}" in intervals]
    for precision in precisions:
        parts = zip(speeds["environments"], speeds[f"network {precision}"], strict=True)
        bounds = [upper_bound.upper_bound(*speed, overlap=overlap) for speed in parts]
        speeds[f"upper bound {precision}"] = bounds
    peaks = {name: max(i.memory for i in values) for name, values in intervals.items()}
    trainings = {"baseline": "float32"} | {f"{e} {p}": p for p in precisions for e in EXTRACTORS}
    speed, ratio = spreads(speeds), ratios(speeds, "baseline")
    rows, table = [], [_HEAD]
    for name in speeds:
        row = {"candidate": name, "steps_per_second": speed[name], "ratio": ratio[name]}
        line = [name, f"{speed[name]:,.0f}", f"{ratio[name]:.2f}"]
        if name in trainings:
            share = ratios(speeds, f"upper bound {trainings[name]}")[name]
            memory = peaks[name] / peaks["baseline"]
            beyond = (peaks[name] - imports) / (peaks["baseline"] - imports)
            row |= {"share_of_upper_bound": share, "memory_mib": peaks[name]}
            row |= {"memory_ratio": memory, "memory_ratio_beyond_imports": beyond}
            line += [f"{share.median:.0%}", f"{peaks[name]:,.0f}", f"{memory:.2f}", f"{beyond:.2f}"]
        rows.append(row)
        table.append(line + [""] * (len(_HEAD) - len(line)))
    pairs = {p: ratios(speeds, f"nature {p}")[f"coordconv {p}"] for p in precisions}
    pair_table = [["precision", "coordconv / nature"]]
    pair_table += [[precision, f"{pair:.2f}"] for precision, pair in pairs.items()]
    return {"rows": rows, "coordconv_to_nature": pairs}, [table, pair_table]


_HEAD = ["candidate", "steps/s", "vs. baseline", "% of the upper bound", "memory, MiB"]
_HEAD += ["vs. baseline", "memory beyond the imports"]
