"""Logging to TensorBoard and ``progress.csv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from rl_coordconv.runs.files import ProgressLog, atomic_write
from rl_coordconv.runs.folder import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # for types only, to save Atari trainings 30 MiB


def summary_writer(run: Run, keep_until: int) -> SummaryWriter:
    """Return a TensorBoard writer that resumes after a step and hides what was logged later.

    Args:
        run: The run.
        keep_until: The step to resume from; -1 for a new run.
    """
    return SummaryWriter(str(run.folder), purge_step=keep_until + 1)


def write_settings(writer: SummaryWriter, settings: Mapping[str, bool | str | float]) -> None:
    """Log a run's settings for TensorBoard's HParams page.

    The first of the three summaries is left out, because it would fix the columns for all runs.
    Without it, the page shows the settings in which runs differ first.
    """
    _, start, end = hparams(settings, {})
    for summary in (start, end):
        writer._get_file_writer().add_summary(summary)


class TrainingLog:
    """TensorBoard and ``progress.csv`` of a training that is not one of Stable-Baselines3.

    Args:
        run: The run.
        keep_until: The last step whose row is kept on resuming; -1 for a new run.
        drop: Returns whether to delete a value up to that step, too, given its step and metric.

    Attributes:
        writer: TensorBoard's writer, to log other things.
        seconds: The training time in the last row that is kept.
    """

    def __init__(
        self,
        run: Run,
        keep_until: int,
        drop: Callable[[float, str], bool] = lambda step, name: False,
    ) -> None:
        self._run = run
        self._csv = ProgressLog(run.progress, keep_until=keep_until, drop=drop)
        self.seconds = self._csv.seconds
        self.writer = summary_writer(run, keep_until)
        write_settings(self.writer, run.settings)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.writer.close()

    def write(self, step: int, seconds: float, updates: int, metrics: Mapping[str, float]) -> None:
        """Log metrics by name; ``seconds`` is the time spent on updates, over all starts."""
        self._csv.write({"step": step, "seconds": round(seconds, 3), "updates": updates, **metrics})
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        """Save a figure as PNG, and show it in TensorBoard."""
        self._run.figures.mkdir(exist_ok=True)
        file = self._run.figures / f"{name}.png"
        with atomic_write(file) as path:
            figure.savefig(path)
        # The saved picture, because `add_figure` would draw it once more.
        self.writer.add_image(name, np.asarray(Image.open(file)), step, dataformats="HWC")

    def images(self, images: Mapping[str, Tensor], step: int) -> None:
        """Show images ``[3, H, W]`` in [0, 1] in TensorBoard."""
        for name, image in images.items():
            self.writer.add_image(name, image, step)

    def animation(self, name: str, frames: Tensor) -> None:
        """Save frames ``[T, 3, H, W]`` in [0, 1] as a GIF, ten per second."""
        from rl_coordconv.runs.animation import save_animation  # to save Atari trainings memory

        self._run.figures.mkdir(exist_ok=True)
        save_animation(frames, self._run.figures / f"{name}.gif")
