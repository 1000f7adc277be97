"""Evaluation of an agent on whole games, and their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecEnv

from rl_coordconv.runs.checkpoint import State
from rl_coordconv.runs.files import CsvLog, rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.pace import is_due

GAME_COLUMNS = (
    *("step", "game", "episode_return", "length_frames"),
    *("protocol", "policy", "seed", "checkpoint"),
)
"""The columns of ``evaluations.csv``."""


@dataclass(frozen=True)
class Games:
    """Whole games of one agent.

    Attributes:
        returns: Raw score of each game.
        frames: Length of each game in emulator frames.
    """

    returns: Sequence[float]
    frames: Sequence[int]

    def interval(self) -> tuple[float, float]:
        """Return the 95% confidence interval of the mean score, by the percentile bootstrap."""
        draws = np.random.default_rng(0).choice(self.returns, (10_000, len(self.returns)))
        low, high = np.quantile(draws.mean(axis=1), [0.025, 0.975])
        return float(low), float(high)

    def rows(
        self, step: int, protocol: str, policy: str, seed: object, checkpoint: str
    ) -> list[dict[str, object]]:
        """Return the games as rows of ``evaluations.csv``.

        Args:
            step: Number of training steps of the agent.
            protocol: ``classic`` or ``sticky``.
            policy: ``stochastic`` or ``deterministic``.
            seed: Seed of the games; ``training`` for an evaluation during training.
            checkpoint: ``final``, ``best``, or a name such as ``step-0000001000``; ``training`` for
                an evaluation during training.
        """
        scores = enumerate(zip(self.returns, self.frames, strict=True))
        rows = [(step, i, *game, protocol, policy, seed, checkpoint) for i, game in scores]
        return [dict(zip(GAME_COLUMNS, row, strict=True)) for row in rows]


def evaluate_games(
    model: BaseAlgorithm,
    env: VecEnv,
    n_games: int,
    *,
    deterministic: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
) -> Games:
    """Play whole games with Stable-Baselines3's ``evaluate_policy``; see there for arguments."""
    returns, frames = evaluate_policy(
        model,
        env,
        n_games,
        deterministic=deterministic,
        callback=callback,
        return_episode_rewards=True,
    )
    assert isinstance(returns, list)
    assert isinstance(frames, list)
    return Games(returns, frames)


class EvaluationLog:
    """The evaluations during a training: ``evaluations.csv``, and the best mean score so far.

    A checkpoint is saved before an evaluation, so a resumed run repeats one whose result is in no
    checkpoint.

    Args:
        run: The run.
        state: What `state` returned for the checkpoint to resume from; empty for a new run.

    Attributes:
        last_step: The step of the last evaluation.
    """

    def __init__(self, run: Run, state: State) -> None:
        self._file = run.evaluations
        self.last_step: int = state.get("last_step", 0)
        self._best_return: float = state.get("best_return", -math.inf)
        self._is_lost = False

    @property
    def state(self) -> State:
        """The state to store in a checkpoint."""
        return {"last_step": self.last_step, "best_return": self._best_return}

    def open(self, step: int) -> None:
        """Open the file, and delete the rows of later steps or of an evaluation to repeat."""
        self._is_lost = any(map(self._is_repeated, rows_until(self._file, "step", step)))
        self._csv = CsvLog(self._file, GAME_COLUMNS, keep_until=step, drop=self._is_repeated)

    def is_due(self, every: int, step: int) -> bool:
        """Return whether an evaluation is due at a step, or is to be repeated."""
        return self._is_lost or is_due(every, self.last_step, step)

    def write(self, games: Games, step: int, protocol: str) -> bool:
        """Write games of the stochastic policy; return whether their mean is the best so far."""
        self.last_step, self._is_lost = step, False
        for row in games.rows(step, protocol, "stochastic", "training", "training"):
            self._csv.write(row)
        mean = float(np.mean(games.returns))
        is_best = mean > self._best_return
        self._best_return = max(mean, self._best_return)
        return is_best

    def _is_repeated(self, row: Mapping[str, str]) -> bool:
        """Return whether a row is from an evaluation after the last one in the checkpoint."""
        is_own = row.get("seed", "training") == "training"
        return is_own and float(row["step"]) > self.last_step
