"""The training loop of supervised experiments, with resuming, logging, evaluation and saving."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import torch
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor, nn

from rl_coordconv.runs.checkpoint import (
    State,
    load_state,
    refuse_diverged,
    rng_state,
    save_state,
    save_tensors,
    set_rng_state,
)
from rl_coordconv.runs.config import TrainingConfig, UserError
from rl_coordconv.runs.console import Bar, saving, summary
from rl_coordconv.runs.files import disk_errors
from rl_coordconv.runs.folder import Run, record_start
from rl_coordconv.runs.logging import TrainingLog
from rl_coordconv.runs.signals import StopSignals

Callback = Callable[[int, Mapping[str, float]], None]
"""Called with the epoch and the metrics of each evaluation; an exception ends the training."""


class Learner(Protocol):
    """The part of a training that an experiment implements: networks, optimisers and data.

    An update may depend only on `state`, on the global random number generators and on the update's
    number, so that a resumed training equals an uninterrupted one, bit for bit on a CPU.
    """

    updates_per_epoch: int

    @property
    def model(self) -> nn.Module:
        """The network, or a ``ModuleDict`` of several; saved as ``final_weights.pt``."""

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch.

        Args:
            number: Number of earlier updates, over all epochs.

        Returns:
            The losses by name, detached scalars averaged over the batch, and the batch size.
        """

    def evaluate(self, updates: int) -> Mapping[str, float]:
        """Return the metrics after a number of updates, such as ``{"test/accuracy": 0.5}``."""

    def images(self) -> Mapping[str, Tensor]:
        """Return images ``[3, H, W]`` in [0, 1] to show in TensorBoard at each evaluation."""

    def figures(self) -> Mapping[str, Figure | Tensor]:
        """Return the figures of the finished training, by file name.

        A tensor has the frames of an animation, ``[T, 3, H, W]`` in [0, 1].
        """

    def state(self) -> State:
        """Return the state to save in a checkpoint."""

    def restore(self, state: State) -> None:
        """Restore what `state` returned."""


@dataclass
class _Progress:
    """Progress of a training."""

    updates: int = 0
    seconds: float = 0.0  # spent on updates, without evaluations
    samples: int = 0  # in this epoch so far
    losses: dict[str, Tensor] = field(default_factory=dict)  # sums over these samples

    def add(self, losses: Mapping[str, Tensor], batch_size: int) -> None:
        for name, loss in losses.items():
            self.losses[name] = self.losses.get(name, 0) + loss * batch_size
        self.samples += batch_size
        self.updates += 1

    def mean_losses(self) -> dict[str, float]:
        return {f"train/{name}": (x / self.samples).item() for name, x in self.losses.items()}

    def begin_epoch(self) -> None:
        self.samples, self.losses = 0, {}


def fit(
    learner: Learner, config: TrainingConfig, run: Run, callbacks: Sequence[Callback] = ()
) -> None:
    """Train for ``n_epochs``, from scratch or from the run's last checkpoint.

    Write only into the run folder: a row of ``progress.csv`` and TensorBoard scalars at every
    evaluation, including one before the first update; checkpoints; and at the end, figures and
    weights.

    Args:
        learner: The networks, optimisers and data.
        config: The settings.
        run: An open run folder.
        callbacks: Called in this order after each evaluation.

    Raises:
        Stopped: SIGINT or SIGTERM was received; a checkpoint was saved first.
        UserError: A file could not be written, or the training diverged.
    """
    device = next(learner.model.parameters()).device
    per_epoch = learner.updates_per_epoch
    with disk_errors(run.folder), StopSignals(saving(run)) as signals:
        record_start(run, str(device))
        progress = _resume(learner, run, device)
        console = Console()
        facts = {"parameters": f"{sum(p.numel() for p in learner.model.parameters()):,}"}
        if run.saved:
            facts["resuming"] = f"from update {progress.updates:,}"
        console.print(summary(config, run, **facts))
        keep_until = (progress.updates - 1) // per_epoch  # an evaluation at this update is repeated
        with (
            TrainingLog(run, keep_until) as log,
            Bar(console, config.n_epochs * per_epoch, "updates", progress.updates) as bar,
        ):
            note, is_last = "", False
            while not is_last:
                epoch, rest = divmod(progress.updates, per_epoch)
                is_last = epoch == config.n_epochs
                evaluates = not rest and (epoch % config.eval_freq == 0 or is_last)
                # Save before an evaluation, so that a resumed run repeats an interrupted one.
                if evaluates or signals.received or not (rest or epoch % config.save_freq):
                    _save(learner, progress, run)
                signals.stop()
                if evaluates:
                    bar.note("evaluating")
                    with signals.at_once():
                        metrics = learner.evaluate(progress.updates)
                        images = learner.images()
                    metrics = {**progress.mean_losses(), **metrics}
                    log.write(epoch, progress.seconds, progress.updates, metrics)
                    log.images(images, epoch)
                    note = _scores(metrics, config)
                    bar.note(note)
                    for callback in callbacks:
                        callback(epoch, metrics)
                if not is_last:
                    _update(learner, progress, device)
                    bar.update(progress.updates, note)
            bar.note("drawing figures")
            for name, figure in learner.figures().items():
                if isinstance(figure, Tensor):
                    log.animation(name, figure)
                else:
                    log.figure(name, figure, config.n_epochs)
        save_tensors(run.final_weights, learner.model.state_dict())
        run.finish()


def _update(learner: Learner, progress: _Progress, device: torch.device) -> None:
    started = time.perf_counter()
    if progress.updates % learner.updates_per_epoch == 0:
        progress.begin_epoch()
    losses, batch_size = learner.update(progress.updates)
    progress.add(losses, batch_size)
    if progress.updates % learner.updates_per_epoch == 0 and device.type == "cuda":
        torch.cuda.synchronize(device)  # count the GPU's time too
    progress.seconds += time.perf_counter() - started


def _scores(metrics: Mapping[str, float], config: TrainingConfig) -> str:
    """Format the main metric on each split of the data."""
    metric = config.score.rpartition("/")[2]
    scores = [
        f"{name} {value:.3f}"
        for name, value in metrics.items()
        if name.rpartition("/")[2] == metric
    ]
    return ", ".join(scores)


def _save(learner: Learner, progress: _Progress, run: Run) -> None:
    refuse_diverged(run, f"update {progress.updates:,}", learner.model, progress.mean_losses())
    state = {"progress": asdict(progress), "learner": learner.state(), "rng": rng_state()}
    save_state(run, progress.updates, state)


def _resume(learner: Learner, run: Run, device: torch.device) -> _Progress:
    state = load_state(run, device)
    if state is None:
        return _Progress()
    if "progress" not in state:
        raise UserError(
            f"The checkpoints in {run.checkpoints} are of an older version; start over with"
            " --overwrite."
        )
    learner.restore(state["learner"])
    set_rng_state(state["rng"])
    return _Progress(**state["progress"])
