"""Train one network on one toy task, from the start or from the run's last checkpoint."""

from __future__ import annotations

from rich.console import Console

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import Samples, split
from rl_coordconv.experiments.not_so_clevr.learner import Learner
from rl_coordconv.experiments.not_so_clevr.log import Log
from rl_coordconv.experiments.not_so_clevr.results import read_result, results_table
from rl_coordconv.runs.checkpoint import StopSignals, load_state, save_state, save_tensors
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run, Stopped, disk_errors, record_start


def train(config: ToyConfig, run: Run) -> None:
    """Train for ``n_epochs``; write only into the run's folder.

    The run goes on from its last checkpoint where there is one, and then equals an uninterrupted
    one, on a CPU bit for bit.

    Args:
        config: The settings.
        run: An open run folder.

    Raises:
        Stopped: SIGINT or SIGTERM came; a checkpoint was saved first.
        UserError: The disk could not be written.
    """
    device = use_device(config.device, config.num_threads)
    training, test = (part.to(device) for part in split(config.split, config.canvas, config.square))
    learner = Learner(config, training)
    with disk_errors(run.folder), StopSignals() as signals:
        record_start(run, str(device))
        if state := load_state(run, device):
            learner.restore(state)
        console = Console()
        with Log(config, run, learner, console) as log:
            if not learner.updates:
                log.evaluation(training, test)
            while learner.epoch < config.n_epochs:
                learner.update()
                log.progress()
                if learner.is_between_epochs:
                    end_epoch(config, run, learner, log, (training, test))
                if signals.received:
                    save_state(run, learner.updates, learner.state())
                    raise Stopped(signals.received)
            log.figures(training, test)
        save_tensors(run.final_weights, learner.model.state_dict())
        run.finish()
    console.print(results_table(read_result(run.folder)))


def end_epoch(
    config: ToyConfig, run: Run, learner: Learner, log: Log, parts: tuple[Samples, Samples]
) -> None:
    """Evaluate and save, where due: first the row in the log, then the state that follows it."""
    if learner.epoch % config.eval_freq == 0 or learner.epoch == config.n_epochs:
        log.evaluation(*parts)
    if learner.epoch % config.save_freq == 0 or learner.epoch == config.n_epochs:
        save_state(run, learner.updates, learner.state())
