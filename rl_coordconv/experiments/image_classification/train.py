"""Train one classifier, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rl_coordconv.experiments.image_classification.config import ClassificationConfig
from rl_coordconv.runs import distributed
from rl_coordconv.runs.checkpoint import load_tensors
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.extras import check_vision
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.presets import print_quick_time
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

# Training seconds per epoch of the quick preset with its network (docs/results/classification), on
# one core of an AMD EPYC.
_QUICK_SECONDS = {"digits": 1.7, "quadrants": 2.5}
_QUICK_BACKBONE = "shufflenet_v2_x0_5"


def train(config: ClassificationConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`."""
    check_vision("Image classification", ["torchvision", "mlxtend"])
    # These need the extra ``vision``.
    from rl_coordconv.experiments.image_classification.datasets import read_splits
    from rl_coordconv.experiments.image_classification.learner import ClassificationLearner

    measured = config.preset == "quick" and config.backbone == _QUICK_BACKBONE
    if measured and config.data in _QUICK_SECONDS:
        print_quick_time(run, _QUICK_SECONDS[config.data] * config.n_epochs, "an AMD EPYC")
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    splits = read_splits(config.data, config.size)
    checksums = distributed.gathered([splits.train.checksum(), splits.val.checksum()])
    if any(other != checksums[0] for other in checksums):
        raise UserError(
            f"The processes find different pictures in {config.data}; copy the same files to all"
            " machines."
        )
    fit(ClassificationLearner(config, splits, device), config, run, callbacks)


def load_model(config: ClassificationConfig, run: Run) -> nn.Module:
    """Return the trained classifier of a finished run, on the CPU."""
    check_vision("Image classification", ["torchvision", "mlxtend"])
    from rl_coordconv.experiments.image_classification.models import make_classifier

    weights = load_tensors(run.final_weights)
    *_, last = weights.values()  # of the last layer: an element, or a row, per class
    network = make_classifier(config.model, config.backbone, len(last))
    network.load_state_dict(weights)
    return network
