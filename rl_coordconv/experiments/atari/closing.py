"""The closing lines of a finished run: its scores, and the next commands to run."""

from rl_coordconv.runs.game_closing import game_closing as closing

__all__ = ["closing"]
