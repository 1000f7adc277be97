"""Measure everything that differs on a GPU: the layer, trainings, and updates of the toy tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import rl_coordconv
from rl_coordconv.bench import baseline, layer, runs, timing, updates, upper_bound
from rl_coordconv.bench.processes import Candidate, interleave_processes
from rl_coordconv.experiments import CONFIGS, ENVIRONMENT
from rl_coordconv.runs.config import UserError

WAYS: Mapping[str, str] = {
    "eager": "--cuda-graphs off",
    "captured": "--cuda-graphs on --env-groups 1",
    "captured, two groups": "--cuda-graphs on --env-groups 2",
}
"""Ways to train, by name: the flags."""

EXTRACTORS = ("nature", "coordconv")
SECONDS, QUICK_SECONDS = 1.5, 0.2  # of an interval of a training
N_RUNS = 8  # in parallel


def run(repeats: int, device: str, *, quick: bool = False) -> timing.Report:
    """Measure each part, and print its result at once.

    Args:
        repeats: Number of measured rounds of the trainings, at least 1; the layer and the updates
            are measured eight times as often.
        device: ``cuda``, or ``cpu`` to try this without a GPU.
        quick: Measure everything once, and only A2C with `coordconv`.

    Raises:
        UserError: There is no such device, or a training ended early.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("There is no CUDA device on this machine; choose --device cpu.")
    often = 1 if quick else 8 * repeats
    rounds = 1 if quick else repeats
    parts: dict[str, Callable[[], timing.Report]] = {
        "layer, float32": lambda: layer.run(often, device, "float32", "contiguous"),
        "layer, bfloat16": lambda: layer.run(often, device, "bfloat16", "channels-last"),
        "A2C": lambda: race(rounds, "a2c", device, quick=quick),
        "PPO": lambda: race(rounds, "ppo", device, quick=quick),
        "A2C, several runs": lambda: runs.run(1, CONFIGS, "a2c", 10.0, [1, N_RUNS]),
        "updates": lambda: updates.run(often, device, "quick"),
    }
    if quick:
        parts = {name: parts[name] for name in ("layer, float32", "A2C", "updates")}
    numbers: dict[str, object] = {"device": device}
    start = time.perf_counter()
    for name, measure in parts.items():
        report = measure()
        print(f"## {name}\n\n{report.text}\n", flush=True)  # in case that a later part fails
        numbers[name] = report.numbers
    seconds = time.perf_counter() - start
    return timing.make_report(rounds, numbers, [], f"All parts took {seconds:.0f} seconds.")


def race(repeats: int, algorithm: str, device: str, *, quick: bool = False) -> timing.Report:
    """Measure trainings on Ms. Pac-Man side by side: plain SB3, and each way of ours.

    Args:
        repeats: Number of measured rounds, at least 1.
        algorithm: ``a2c`` or ``ppo``.
        device: ``cpu`` or ``cuda``.
        quick: Only `coordconv`, in short intervals.
    """
    seconds = QUICK_SECONDS if quick else SECONDS
    extractors = EXTRACTORS[1:] if quick else EXTRACTORS
    with TemporaryDirectory() as folder:
        found = candidates(algorithm, device, extractors, seconds, Path(folder))
        intervals = interleave_processes(found, repeats)
    speeds = {name: [x.steps / x.seconds for x in own] for name, own in intervals.items()}
    speed = timing.spreads(speeds)
    to_sb3, to_games = (timing.ratios(speeds, base) for base in ("SB3", "games alone"))
    table = [["training", "steps/s", "vs. SB3", "vs. games alone"]]
    table += [[n, f"{speed[n]:,.0f}", f"{to_sb3[n]:.2f}", f"{to_games[n]:.2f}"] for n in speeds]
    pairs: dict[str, Any] = {}
    if not quick:
        for way in WAYS:
            of_nature = timing.ratios(speeds, f"nature, {way}")
            pairs[way] = of_nature[f"coordconv, {way}"]
    pair_table = [["way", "coordconv / nature"], *([n, f"{x:.2f}"] for n, x in pairs.items())]
    note = f"{algorithm}, Ms. Pac-Man, on {device}, float32, intervals of {seconds} s."
    numbers = {"steps_per_second": speed, "ratio_to_sb3": to_sb3, "ratio_to_games": to_games}
    tables = [table, *([pair_table] if pairs else [])]
    return timing.make_report(repeats, {**numbers, "coordconv_to_nature": pairs}, tables, note)


def candidates(
    algorithm: str, device: str, extractors: tuple[str, ...], seconds: float, folder: Path
) -> dict[str, Candidate]:
    """Return the trainings of a race, and the games without a network.

    Args:
        algorithm: ``a2c`` or ``ppo``.
        device: ``cpu`` or ``cuda``.
        extractors: Names of networks.
        seconds: Minimum length of an interval.
        folder: Where to log.
    """
    sb3, games = Path(baseline.__file__), Path(upper_bound.__file__)
    found = {
        "SB3": Candidate(sb3, [algorithm, "DummyVecEnv", "1"], seconds),
        "SB3, SubprocVecEnv": Candidate(sb3, [algorithm, "SubprocVecEnv", "1"], seconds),
    }
    program = Path(rl_coordconv.__file__).with_name("__main__.py")
    for extractor in extractors:
        for way, flags in WAYS.items():
            name = f"{extractor}, {way}"
            argv = [f"train-{algorithm}", "--extractor", extractor, "--device", device]
            argv += ["--total-timesteps", str(10**9), "--log-dir", str(folder / name)]
            found[name] = Candidate(program, [*argv, *flags.split()], seconds, ENVIRONMENT)
    argv = ["environments", algorithm, str(CONFIGS / f"{algorithm}.yaml")]
    return found | {"games alone": Candidate(games, argv, seconds, ENVIRONMENT)}
