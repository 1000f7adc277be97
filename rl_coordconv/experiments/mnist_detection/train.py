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
from rl_coordconv.experiments.mnist_detection.vision import check_vision
from rl_coordconv.runs.checkpoint import load_tensors
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

if TYPE_CHECKING:
    from rl_coordconv.experiments.mnist_detection.learner import DetectionLearner

N_TEST = 1000
"""Number of test canvases, as in the paper."""

_TRAINING_SEED, _TEST_SEED = 0, 1  # all runs learn the same canvases, as in the paper


def train(config: DetectionConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`."""
    check_vision()
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    fit(make_learner(config, *read_canvases(config, device)), config, run, callbacks)


def read_canvases(config: DetectionConfig, device: torch.device) -> tuple[Canvases, Canvases]:
    """Return the training and the test canvases, which have no digit in common, on a device.

    Raises:
        UserError: The digits cannot be read.
    """
    parts: list[tuple[Part, int, int]] = [
        ("train", config.n_images, _TRAINING_SEED),
        ("test", N_TEST, _TEST_SEED),
    ]
    training, test = (
        make_canvases(
            number,
            read_digits(config.digits, part, config.data),
            seed,
            config.canvas,
            config.n_digits,
        ).to(device)
        for part, number, seed in parts
    )
    return training, test


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
    check_vision()
    none = Canvases(torch.empty(0), torch.empty(0), torch.empty(0))
    learner = make_learner(config, none, none)
    learner.model.load_state_dict(load_tensors(run.final_weights))
    return learner.model
