"""The last lines of the output of a training on games: scores, and the next commands."""

from __future__ import annotations

import math
from statistics import fmean

from rich.text import Text

from rl_coordconv.runs.config import Config
from rl_coordconv.runs.console import lines_to_copy, tensorboard
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.shell import shell_command


def game_closing(config: Config, run: Run) -> Text:
    """Return the final scores and the next commands, for the terminal.

    Args:
        config: The run's settings.
        run: The finished run.
    """
    games = [float(row["episode_return"]) for row in rows_until(run.episodes, "step", math.inf)]
    rows = rows_until(run.evaluations, "step", math.inf)
    rows = [row for row in rows if row.get("seed", "training") == "training"]
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    evaluated = [float(row["episode_return"]) for row in last]
    end = max((int(path.stem[5:]) for path in run.saved), default=0)
    when = f" at step {int(last[0]['step']):,}" if last and int(last[0]["step"]) < end else ""
    variants = run.folder.parents[1]
    return lines_to_copy(
        {
            "training score": _mean(games[-100:], "the last {} training games"),
            "evaluation score": _mean(evaluated, f"{{}} evaluation games{when}", "no evaluation"),
            "watch": tensorboard(config),
            "evaluate": shell_command("evaluate", str(run.folder)),
            "compare": shell_command("compare", str(variants)),
        }
    )


def _mean(scores: list[float], games: str, none: str = "no game is over yet") -> str:
    """Format a mean score.

    >>> _mean([100.0, 300.0], "{} evaluation games")
    '200.0, the mean of 2 evaluation games'
    """
    if not scores:
        return none
    return f"{fmean(scores):,.1f}, the mean of {games.format(len(scores))}"
