"""Train one detector, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.data import Canvases, make_canvases
from rl_coordconv.experiments.mnist_detection.digits import read_digits
from rl_coordconv.experiments.mnist_detection.names import Part
from rl_coordconv.runs.checkpoint import load_tensors, rng_untouched
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.extras import check_vision
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.presets import print_quick_time
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

if TYPE_CHECKING:
    from rl_coordconv.experiments.mnist_detection.learner import DetectionLearner

_PACKAGES = ("mlxtend", "pycocotools", "torchmetrics", "torchvision")

N_TEST = 1000
"""Number of test canvases, as in the paper, and of validation canvases."""

_SEEDS = {"train": 0, "test": 1, "validation": 2}  # all runs learn the same canvases
# Training seconds per epoch of the quick preset, on one core of an AMD EPYC.
_QUICK_SECONDS_PROPOSALS, _QUICK_SECONDS_FASTER_RCNN = 10.0, 22.5
_NO_CANVASES = Canvases(torch.empty(0), torch.empty(0), torch.empty(0))


def train(config: DetectionConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`."""
    check_vision("Detection", _PACKAGES)
    if config.preset == "quick":
        each = _QUICK_SECONDS_PROPOSALS if config.proposes_only else _QUICK_SECONDS_FASTER_RCNN
        print_quick_time(run, each * config.n_epochs, "an AMD EPYC")
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    fit(make_learner(config, *read_canvases(config, device)), config, run, callbacks)


def read_canvases(config: DetectionConfig, device: torch.device) -> tuple[Canvases, Canvases]:
    """Return the canvases to train and to evaluate on, with different digits, on a device.

    Raises:
        UserError: The digits cannot be read.
    """
    training = _read_part(config, "train", config.n_images)
    return training.to(device), read_test_canvases(config).to(device)


def read_test_canvases(config: DetectionConfig) -> Canvases:
    """Return the canvases to evaluate on, on the CPU.

    Raises:
        UserError: The digits cannot be read.
    """
    return _read_part(config, config.evaluate_on, N_TEST)


def _read_part(config: DetectionConfig, part: Part, number: int) -> Canvases:
    digits = read_digits(config.digits, part, config.data)
    return make_canvases(number, digits, _SEEDS[part], config.canvas, config.n_digits)


def make_learner(config: DetectionConfig, training: Canvases, test: Canvases) -> DetectionLearner:
    """Return the learner of a config; see `DetectionLearner`."""
    # Imported here because both need the extra ``vision``, which `train` checks first.
    if config.proposes_only:
        from rl_coordconv.experiments.mnist_detection.proposal_learner import ProposalLearner

        return ProposalLearner(config, training, test)
    from rl_coordconv.experiments.mnist_detection.faster_rcnn_learner import FasterRCNNLearner

    return FasterRCNNLearner(config, training, test)


def load_model(config: DetectionConfig, run: Run) -> nn.Module:
    """Return the trained network of a finished run, on the CPU."""
    return load_learner(config, run, _NO_CANVASES).model


def load_learner(config: DetectionConfig, run: Run, test: Canvases) -> DetectionLearner:
    """Return a learner with the trained network of a finished run, without training canvases.

    Args:
        config: The run's settings.
        run: The finished run.
        test: Canvases to evaluate on, on the CPU.
    """
    check_vision("Detection", _PACKAGES)
    learner = make_learner(config, _NO_CANVASES, test)
    learner.model.load_state_dict(load_tensors(run.final_weights))
    return learner


def count_parameters(config: DetectionConfig) -> int:
    """Return the number of parameters of a detector."""
    with rng_untouched():
        model = make_learner(config, _NO_CANVASES, _NO_CANVASES).model
    return sum(parameter.numel() for parameter in model.parameters())
