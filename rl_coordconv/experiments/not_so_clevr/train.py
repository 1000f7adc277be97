"""Train one network on one toy task, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.runs.checkpoint import load_tensors
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.presets import print_quick_time
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

# Training seconds per epoch of the quick presets (docs/toy.md, mean over both splits), on one core
# of an AMD EPYC while other runs were in progress.
_QUICK_SECONDS = {
    ("classification", "deconv"): 1.4,
    ("classification", "coordconv"): 6.9,
    ("rendering", "deconv"): 1.9,
    ("rendering", "coordconv"): 33.0,
    ("rendering", "deconv-bottleneck"): 7.6,
    ("rendering", "upsample-conv"): 6.0,
    ("rendering", "upsample-coordconv"): 5.5,
    ("regression", "conv"): 1.8,
    ("regression", "coordconv"): 3.9,
    ("regression", "coordconv-relu-avg"): 3.9,  # not measured; as for coordconv
}


def train(config: ToyConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`; with the quick preset, first print the expected time."""
    if config.preset == "quick":
        seconds = _QUICK_SECONDS[config.task, config.model] * config.n_epochs
        print_quick_time(run, seconds, "an AMD EPYC")
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    training, test = (part.to(device) for part in split(config.split, config.canvas, config.square))
    learner = ToyLearner(config, training, test)
    fit(learner, config, run, callbacks)


def load_model(config: ToyConfig, run: Run) -> nn.Module:
    """Return the trained network of a finished run, on the CPU."""
    model = make_model(config.task, config.model, config.shape)
    model.load_state_dict(load_tensors(run.final_weights))
    return model
