"""The logs of a training: games, metrics and TensorBoard, with the tags of A2C's."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import numpy as np
from stable_baselines3 import DQN

from rl_coordconv.callbacks import positional_map_images, weight_shares
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.episodes import EpisodeLog
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.logging import TrainingLog
from rl_coordconv.runs.pace import Speed, is_due

# The layout of TensorBoard's page Custom Scalars: tags by section and chart.
_CURVES = {
    "Score": {
        "mean of the last 100 training games": ["Multiline", ["rollout/ep_rew_mean"]],
        "mean of the evaluation games": ["Multiline", ["eval/mean_reward"]],
    },
    "Learning": {
        "loss": ["Multiline", ["train/loss"]],
        "mean Q-value": ["Multiline", ["train/q_mean"]],
        "share of the coordinates in the weights": ["Multiline", ["coord/weight_share/.*"]],
    },
    "Speed": {"steps per second": ["Multiline", ["time/steps_per_second"]]},
}
_WINDOW = 100  # games in the mean score, as in Stable-Baselines3


class Logs:
    """``progress.csv``, ``episodes.csv`` and TensorBoard, from a step on.

    Args:
        config: The settings.
        run: The run.
        step: The step to resume from; what was logged later is deleted.
        last_evaluation: The step of the last evaluation to keep.
    """

    def __init__(self, config: ApexConfig, run: Run, step: int, last_evaluation: int) -> None:
        def is_repeated(at: float, name: str) -> bool:
            return name.startswith("eval/") and at > last_evaluation

        self._every, self._end = config.log_interval, config.total_timesteps
        self._log = TrainingLog(run, step or -1, is_repeated)
        self._log.writer.add_custom_scalars(_CURVES)
        self._episodes = EpisodeLog(run, self._log.writer, step)
        kept = rows_until(run.episodes, "step", math.inf)[-_WINDOW:]
        games = [(float(row["episode_return"]), int(float(row["length_frames"]))) for row in kept]
        self._games = deque(games, _WINDOW)
        self._last_step = step
        self._speed, self._started = Speed(step), time.perf_counter()
        self._metrics: dict[str, float] = {}

    def __enter__(self) -> Logs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, _)

    @property
    def losses(self) -> dict[str, float]:
        """The losses of the last update."""
        return {name: x for name, x in self._metrics.items() if name.endswith("loss")}

    @property
    def note(self) -> str:
        """A short text for the progress bar."""
        speed = self._metrics.get("time/steps_per_second")
        score = f"{self._score():,.0f}" if self._games else "-"
        return f"{'-' if speed is None else f'{speed:,.0f}'} steps/s, score {score}"

    def write_round(
        self,
        step: int,
        updates: int,
        games: Sequence[tuple[float, int]],
        metrics: Mapping[str, float],
        agent: Callable[[], DQN],
    ) -> None:
        """Log the games of a round, and every ``log_interval`` steps and at the end a row.

        Args:
            step: The step after the round.
            updates: Number of updates so far, over all starts.
            games: Raw score and length in frames of each game that ended.
            metrics: Of the round's last update, by tag.
            agent: Returns the agent; called for a row only.
        """
        for score, frames in games:
            self._episodes.write(step, score, frames)
            self._games.append((score, frames))
        self._metrics |= {**metrics, "time/steps_per_second": self._speed.at(step)}
        if is_due(self._every, self._last_step, step) or step >= self._end:
            self._last_step = step
            if self._games:
                self._metrics["rollout/ep_rew_mean"] = self._score()
                self._metrics["rollout/ep_len_mean"] = float(np.mean([f for _, f in self._games]))
            shares = weight_shares(agent().policy.q_net).items()
            self._metrics |= {f"coord/weight_share/{name}": share for name, share in shares}
            self._log.write(step, self._seconds(), updates, self._metrics)

    def write_evaluation(
        self, step: int, updates: int, metrics: Mapping[str, float], agent: DQN
    ) -> None:
        """Log an evaluation and the coordinates' positional maps."""
        self._log.write(step, self._seconds(), updates, metrics)
        for name, image in positional_map_images(agent.policy.q_net).items():
            tag = f"coord/positional_map/{name}"
            self._log.writer.add_image(tag, image, step, dataformats="HWC")

    def _seconds(self) -> float:
        return self._log.seconds + time.perf_counter() - self._started

    def _score(self) -> float:
        return float(np.mean([score for score, _ in self._games]))
