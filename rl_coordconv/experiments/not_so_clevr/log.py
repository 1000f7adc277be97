"""What a toy training shows and writes down: the bar, ``progress.csv``, TensorBoard, figures."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import PARTS, Samples
from rl_coordconv.experiments.not_so_clevr.figures import make_figures
from rl_coordconv.experiments.not_so_clevr.learner import Learner
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.console import Bar, summary
from rl_coordconv.runs.folder import CsvLog, Run, atomic_write


class Log:
    """The log of one start of a run; it goes on after the learner's last complete epoch.

    Args:
        config: The settings.
        run: The run's folder.
        learner: Whose progress to log.
        console: Where the bar goes; a line a minute where it is no terminal.
    """

    def __init__(self, config: ToyConfig, run: Run, learner: Learner, console: Console) -> None:
        self._config, self._run, self._learner, self._console = config, run, learner, console
        next_epoch = learner.epoch + 1 if learner.updates else 0
        self._csv = CsvLog(run.progress, _columns(config), keep_until=next_epoch - 1)
        self._writer = SummaryWriter(str(run.folder), purge_step=next_epoch)
        self._bar = Bar(console, config.n_epochs * learner.epoch_length, "updates")
        self._score = ""

    def __enter__(self) -> Log:
        learner = self._learner
        more = {"parameters": f"{learner.n_parameters:,}"}
        if learner.updates:
            more["resuming"] = f"from update {learner.updates:,}"
        self._console.print(summary(self._config, self._run, **more))
        self._bar.start(learner.updates)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._bar.stop()
        self._writer.close()

    def progress(self) -> None:
        """Show how far the learner is."""
        self._bar.update(self._learner.updates, self._score)

    def evaluation(self, *parts: Samples) -> None:
        """Measure the network on the training and the test samples, and write it down."""
        learner = self._learner
        values = {
            f"{part}/{name}": measure(outputs, samples)
            for part, samples in zip(PARTS, parts, strict=True)
            for outputs in [learner.predict(samples)]
            for name, measure in TASKS[self._config.task].measures.items()
        }
        state = {"loss": learner.loss.item(), "learning_rate": learner.learning_rate}
        seconds = round(learner.seconds, 3)
        self._csv.write(learner.epoch, learner.updates, seconds, *state.values(), *values.values())
        for tag, value in {**values, **{f"train/{k}": v for k, v in state.items()}}.items():
            self._writer.add_scalar(tag, value, learner.epoch)
        first = next(iter(TASKS[self._config.task].measures))
        self._score = ", ".join(f"{part} {first} {values[f'{part}/{first}']:.3f}" for part in PARTS)

    def figures(self, *parts: Samples) -> None:
        """Draw what the network does, for TensorBoard and as PNG files."""
        self._run.figures.mkdir(exist_ok=True)
        outputs = [self._learner.predict(samples) for samples in parts]
        for name, figure in make_figures(self._config.task, parts, outputs).items():
            with atomic_write(self._run.figures / f"{name}.png") as path:
                figure.savefig(path)
            self._writer.add_figure(name, figure, self._learner.epoch)


def _columns(config: ToyConfig) -> list[str]:
    measures = TASKS[config.task].measures
    return [
        *("epoch", "updates", "seconds", "loss", "learning_rate"),
        *(f"{part}_{measure}" for part in PARTS for measure in measures),
    ]
