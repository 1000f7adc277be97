"""A run of several processes, of which only rank 0 opens the run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rl_coordconv.runs.config import C, UserError
from rl_coordconv.runs.distributed import from_main
from rl_coordconv.runs.folder import Run, run_experiment
from rl_coordconv.runs.ranks import is_lost_connection, is_main, world_size
from rl_coordconv.runs.signals import Stopped, StopSignals


def run_together(
    train: Callable[[C, Run], None],
    config: C,
    *,
    overwrite: bool = False,
    track: bool = False,
    verbose: bool = True,
) -> int:
    """Start, resume or extend a run with all processes; see `run_experiment`.

    Rank 0 opens the run folder. The others train too, or exit as rank 0 does if there is nothing to
    train; they do not open the run folder, which may be on another machine.

    Args:
        train: The experiment's training function.
        config: The settings, the same in all processes.
        overwrite: Delete an earlier run and start over.
        track: Log to Weights & Biases.
        verbose: Print settings, progress and the folder.

    Returns:
        The exit code: 0, or 128 + n if signal n stopped the run.

    Raises:
        UserError: The run cannot be resumed; raised in all processes.
    """
    if world_size() == 1:
        return run_experiment(train, config, overwrite=overwrite, track=track, verbose=verbose)
    if is_main():
        return _lead(train, config, overwrite, track, verbose)
    ending: UserError | int | None = from_main(None)
    if isinstance(ending, UserError):
        raise ending
    if ending is not None:
        return ending
    try:
        train(config, Run(config.folder, config))
    except Stopped as stop:
        return 128 + stop.number
    return 0


def _lead(
    train: Callable[[C, Run], None], config: C, overwrite: bool, track: bool, verbose: bool
) -> int:
    """Train as rank 0, after telling the others whether there is anything to train."""
    has_told = False

    def tell(ending: UserError | int | None) -> None:
        nonlocal has_told
        if not has_told:
            has_told = True
            from_main(ending)

    def train_together(config: C, run: Run) -> None:
        tell(None)
        train(config, run)

    try:
        code = run_experiment(
            train_together, config, overwrite=overwrite, track=track, verbose=verbose
        )
    except UserError as error:
        tell(error)
        raise
    tell(code)
    return code


@contextmanager
def stopping_with_main(signals: StopSignals) -> Iterator[None]:
    """Stop quietly in the block if another process ended, and this one received a signal too.

    A process stops at once in an evaluation, while others may be waiting for it. The checkpoint was
    saved before the evaluation.

    Raises:
        Stopped: Another process ended after a signal.
    """
    try:
        yield
    except RuntimeError as error:
        if signals.received and is_lost_connection(error):
            raise Stopped(signals.received) from None
        raise
