"""The log of finished training games."""

from __future__ import annotations

import time

from torch.utils.tensorboard import SummaryWriter

from rl_coordconv.runs.files import CsvLog
from rl_coordconv.runs.folder import Run


class EpisodeLog:
    """A log of every finished game in ``episodes.csv`` and in TensorBoard.

    Args:
        run: The run.
        writer: TensorBoard's writer.
        keep_until: The step to resume from; rows of later games are deleted.
    """

    def __init__(self, run: Run, writer: SummaryWriter, keep_until: int) -> None:
        columns = ("step", "wall_time", "episode_return", "length_frames")
        self._csv = CsvLog(run.episodes, columns, keep_until=keep_until)
        self._writer = writer

    def write(self, step: int, episode_return: float, length_frames: int) -> None:
        """Log a game: its raw score, and its length in emulator frames."""
        self._csv.write(
            {
                "step": step,
                "wall_time": round(time.time(), 3),
                "episode_return": episode_return,
                "length_frames": length_frames,
            }
        )
        self._writer.add_scalar("raw/episode_return", episode_return, step)
        self._writer.add_scalar("raw/episode_length_frames", length_frames, step)
