"""The training loop of supervised experiments, with resuming, logging, evaluation and saving."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import torch
from rich.console import Console
from torch import Tensor

from rl_coordconv.runs import distributed
from rl_coordconv.runs.checkpoint import (
    State,
    derived_seed,
    load_state,
    refuse_diverged,
    rng_state,
    save_state,
    save_tensors,
    seed_rng,
    set_rng_state,
)
from rl_coordconv.runs.config import TrainingConfig, UserError
from rl_coordconv.runs.console import Bar, saving, summary
from rl_coordconv.runs.files import disk_errors
from rl_coordconv.runs.folder import Run, record_start
from rl_coordconv.runs.learner import Learner
from rl_coordconv.runs.logging import TrainingLog
from rl_coordconv.runs.ranks import is_main, rank, world_size
from rl_coordconv.runs.signals import Stopped, StopSignals
from rl_coordconv.runs.together import stopping_with_main

Callback = Callable[[int, Mapping[str, float]], None]
"""Called with the epoch and the metrics of each evaluation; an exception ends the training."""

# Number of the streams of ranks above 0; those of `Batches` are the numbers of epochs.
_RANKS = 2**21


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
    weights. With several processes, only rank 0 writes, prints and calls the callbacks.

    Args:
        learner: The networks, optimisers and data.
        config: The settings.
        run: The run folder, open in rank 0.
        callbacks: Called in this order after each evaluation.

    Raises:
        Stopped: A process received SIGINT or SIGTERM; a checkpoint was saved first.
        UserError: A file could not be written, or the training diverged.
    """
    device = next(learner.model.parameters()).device
    per_epoch = learner.updates_per_epoch
    callbacks = callbacks if is_main() else ()
    with (
        disk_errors(run.folder),
        StopSignals(saving(run) if is_main() else "") as signals,
        stopping_with_main(signals),
    ):
        console = Console(quiet=not (run.verbose and is_main()))
        progress = _start(learner, config, run, device, console)
        keep_until = (progress.updates - 1) // per_epoch  # an evaluation at this update is repeated
        with (
            TrainingLog(run, keep_until) if is_main() else nullcontext() as log,
            Bar(console, config.n_epochs * per_epoch, "updates", progress.updates) as bar,
        ):
            note, is_last = "", False
            while not is_last:
                epoch, rest = divmod(progress.updates, per_epoch)
                is_last = epoch == config.n_epochs
                evaluates = not rest and (epoch % config.eval_freq == 0 or is_last)
                signal = distributed.largest(signals.received or 0)
                # Save before an evaluation, so that a resumed run repeats an interrupted one.
                if evaluates or signal or not (rest or epoch % config.save_freq):
                    _save(learner, progress, run)
                if signal:
                    distributed.barrier()  # torchrun ends all processes soon after one has ended
                    raise Stopped(signal)
                if evaluates:
                    bar.note("evaluating")
                    metrics, images = _evaluate(learner, progress, signals)
                    if log:
                        log.write(epoch, progress.seconds, progress.updates, metrics)
                        log.images(images, epoch)
                    note = _scores(metrics, config)
                    bar.note(note)
                    for callback in callbacks:
                        callback(epoch, metrics)
                if not is_last:
                    _update(learner, progress, device)
                    bar.update(progress.updates, note)
            if log:
                bar.note("drawing figures")
                _draw(learner, config, log)
        if is_main():
            save_tensors(run.final_weights, learner.model.state_dict())
            run.finish()


def _start(
    learner: Learner, config: TrainingConfig, run: Run, device: torch.device, console: Console
) -> _Progress:
    """Record the start, restore the last checkpoint, and print the settings."""
    processes = world_size()
    if is_main():
        record_start(run, str(device) if processes == 1 else f"{processes} x {device.type}")
    progress = _resume(learner, config, run, device)
    facts = {"parameters": f"{sum(p.numel() for p in learner.model.parameters()):,}"}
    if processes > 1:
        facts["processes"] = f"{processes}"
    if run.saved:
        facts["resuming"] = f"from update {progress.updates:,}"
    console.print(summary(config, run, **facts))
    return progress


def _evaluate(
    learner: Learner, progress: _Progress, signals: StopSignals
) -> tuple[Mapping[str, float], Mapping[str, Tensor]]:
    """Return the metrics, with the losses since the last evaluation, and images to show."""
    distributed.buffers_from_main(learner.model)
    with signals.at_once():
        metrics = learner.evaluate(progress.updates)
        images = learner.images() if is_main() else {}
    return {**progress.mean_losses(), **metrics}, images


def _draw(learner: Learner, config: TrainingConfig, log: TrainingLog) -> None:
    for name, figure in learner.figures().items():
        if isinstance(figure, Tensor):
            log.animation(name, figure)
        else:
            log.figure(name, figure, config.n_epochs)


def _update(learner: Learner, progress: _Progress, device: torch.device) -> None:
    started = time.perf_counter()
    if progress.updates % learner.updates_per_epoch == 0:
        progress.begin_epoch()
    losses, batch_size = learner.update(progress.updates)
    progress.add(*distributed.mean(losses, batch_size))
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
    rng, *others = distributed.gathered(rng_state())
    if not is_main():
        return
    refuse_diverged(run, f"update {progress.updates:,}", learner.model, progress.mean_losses())
    state: State = {"progress": asdict(progress), "learner": learner.state(), "rng": rng}
    if others:
        state["other_rng"] = others
    save_state(run, progress.updates, state)


def _resume(learner: Learner, config: TrainingConfig, run: Run, device: torch.device) -> _Progress:
    state = load_state(run, device) if is_main() else None
    state = distributed.state_from_main(state, device)
    if state is None:
        if not is_main():
            seed_rng(derived_seed(config.seed, _RANKS, rank()))
        return _Progress()
    if "progress" not in state:
        raise UserError(
            f"The checkpoints in {run.checkpoints} are of an older version; start over with"
            " --overwrite."
        )
    learner.restore(state["learner"])
    progress = _Progress(**state["progress"])
    rng_states = [state["rng"], *state.get("other_rng", [])]
    if rank() < len(rng_states):
        set_rng_state(rng_states[rank()])
    else:  # it had fewer processes
        seed_rng(derived_seed(config.seed, _RANKS, rank(), progress.updates))
    return progress
