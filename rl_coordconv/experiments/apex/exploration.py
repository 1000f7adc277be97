"""Ape-X's ladder of exploration rates."""

from __future__ import annotations

_BASE, _EXPONENT = 0.4, 7.0  # epsilon and alpha of Horgan et al. 2018, section 4.1


def exploration_ladder(n_actors: int) -> list[float]:
    """Return the share of random actions of each actor: 0.4^(1 + 7 i / (N - 1)) for actor i of N.

    An actor is one game. The first explores most; a single actor has 0.4.

    >>> [round(epsilon, 6) for epsilon in exploration_ladder(3)]
    [0.4, 0.016191, 0.000655]
    """
    return [_BASE ** (1 + _EXPONENT * i / max(n_actors - 1, 1)) for i in range(n_actors)]


def runner_ladder(worker_index: int, n_runners: int, n_games: int) -> list[float]:
    """Return the rates of the games of one of RLlib's environment runners.

    Args:
        worker_index: RLlib's number of the runner: from 1, or 0 for the main process.
        n_runners: Number of runners besides the main process.
        n_games: Games per runner.

    >>> runner_ladder(2, 2, 2) == exploration_ladder(4)[2:]
    True
    """
    first = (max(worker_index, 1) - 1) * n_games
    return exploration_ladder(max(n_runners, 1) * n_games)[first : first + n_games]
