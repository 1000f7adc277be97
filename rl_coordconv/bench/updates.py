"""Measure the updates of the supervised experiments, one by one and replayed as CUDA graphs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch

from rl_coordconv.bench.timing import Report, Spread, make_report, time_interleaved
from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.generative.config import GANConfig, VAEConfig
from rl_coordconv.experiments.generative.train import make_learner as make_generative_learner
from rl_coordconv.experiments.generative.train import read_images
from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.train import make_learner as make_detection_learner
from rl_coordconv.experiments.mnist_detection.train import read_canvases
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner
from rl_coordconv.runs.capture import Captured
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.learner import Learner

CASES: tuple[dict[str, Any], ...] = (
    *({"experiment": "toy", "task": "classification", "model": m} for m in ("deconv", "coordconv")),
    *({"experiment": "toy", "task": "rendering", "model": m} for m in ("deconv", "coordconv")),
    *({"experiment": "toy", "task": "regression", "model": m} for m in ("conv", "coordconv")),
    *({"experiment": "gan", "model": m} for m in ("conv", "coordconv")),
    *({"experiment": "vae", "model": m} for m in ("conv", "coordconv")),
    *({"experiment": "detection", "model": m} for m in ("rpn-conv", "rpn-coordconv")),
)
"""Settings of the trainings to measure."""

_N_IMAGES = 200  # enough for every batch size; more would only take longer to generate


def run(repeats: int, device_name: str, preset: str) -> Report:
    """Time one update of each training, from initial weights on.

    Args:
        repeats: Number of measured rounds, at least 1.
        device_name: ``cpu``, or ``cuda``, where each update is also replayed as a CUDA graph.
        preset: ``quick`` or ``paper``.
    """
    device = use_device(device_name, 0)
    on_gpu = device.type == "cuda"
    rows = []
    table = [["experiment", "model", "batch", "ms", *(["captured, ms", "ratio"] if on_gpu else [])]]
    for case in CASES:
        updates = {"eager": _updates(_eager(_learner(case, preset, device)))}
        if on_gpu:
            updates["captured"] = _updates(_learner(case, preset, device))
        wait = torch.cuda.synchronize if on_gpu else lambda: None
        times = time_interleaved(updates, repeats, wait)
        spreads = {name: Spread.of(own) for name, own in times.items()}
        batch_size = make_config(**case, preset=preset).model_dump()["batch_size"]
        rows.append({**case, "batch_size": batch_size, "seconds": spreads})
        name = case.get("task", case["experiment"])
        cells = [f"{1000 * own.median:.2f}" for own in spreads.values()]
        if on_gpu:
            cells.append(f"{spreads['captured'].median / spreads['eager'].median:.2f}")
        table.append([name, case["model"], str(batch_size), *cells])
    where = "a GPU" if on_gpu else f"a CPU with {torch.get_num_threads()} threads"
    note = f"Time of one update on {where}, {preset} preset, from initial weights on."
    return make_report(
        repeats, {"device": device_name, "preset": preset, "rows": rows}, [table], note
    )


def _learner(case: dict[str, Any], preset: str, device: torch.device) -> Learner:
    """Create the learner of a training, with few samples."""
    settings = {**case, "preset": preset}
    if case["experiment"] != "toy":
        settings["n_images"] = _N_IMAGES
    config = make_config(**settings)
    if isinstance(config, ToyConfig):
        parts = split(config.split, config.canvas, config.square)
        return ToyLearner(config, *(part.to(device) for part in parts))
    if isinstance(config, DetectionConfig):
        return make_detection_learner(config, *read_canvases(config, device))
    assert isinstance(config, GANConfig | VAEConfig)
    images, test = read_images(config)
    return make_generative_learner(config, images.to(device), test.to(device))


def _eager(learner: Learner) -> Learner:
    """Let a learner launch the kernels of each step one by one."""
    for name, value in vars(learner).items():
        if isinstance(value, Captured):
            setattr(learner, name, value.step)
    return learner


def _updates(learner: Learner) -> Callable[[], object]:
    """Return a function that does the next update at each call."""
    numbers: Iterator[int] = itertools.count()
    return lambda: learner.update(next(numbers))
