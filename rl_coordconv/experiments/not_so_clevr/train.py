"""Train one network on one toy task, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from torch import nn

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.results import read_result, results_table
from rl_coordconv.runs.checkpoint import load_tensors
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.kept import read_stored_run
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory


def train(config: ToyConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`, then print a table of our results and the paper's."""
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    training, test = (part.to(device) for part in split(config.split, config.canvas, config.square))
    learner = ToyLearner(config, training, test)
    fit(learner, config, run, callbacks)
    Console().print(results_table(read_result(read_stored_run(run.folder, ["progress"]))))


def load_model(config: ToyConfig, run: Run) -> nn.Module:
    """Return the trained network of a finished run, on the CPU."""
    model = make_model(config.task, config.model, config.shape)
    model.load_state_dict(load_tensors(run.final_weights))
    return model
