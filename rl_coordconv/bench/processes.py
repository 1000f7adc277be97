"""Trainings that take intervals: each in a process of its own, and only one at work at any time.

A `Candidate` is such a process, seen from outside; inside it, `main` runs a script as a user would,
except that between two updates it waits for its interval.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

WARM_UP = 1  # rounds that do not count
_REPORTS, _SECONDS = "RL_COORDCONV_REPORTS", "RL_COORDCONV_SECONDS"  # told to the process

Interval = Mapping[str, float]
"""What was done in an interval: ``steps``, ``seconds``, and ``memory`` in MiB, the most so far."""


class Candidate:
    """A process that works when it has its interval.

    Args:
        script: A Python file whose ``main(argv)`` trains with Stable-Baselines3, or calls
            `between_updates` itself.
        argv: Its arguments.
        seconds: How long an interval lasts at least; it ends with an update.
        environ: Environment variables on top of the present ones.
    """

    def __init__(
        self,
        script: Path,
        argv: Sequence[str],
        seconds: float,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._script = script.name
        # A file, because a pipe that nobody empties would stop a process with much to say.
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - `close` does
        reports, told = os.pipe()
        self._reports = os.fdopen(reports)
        told_to = {_REPORTS: str(told), _SECONDS: str(seconds)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(script), *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            pass_fds=[told],
            start_new_session=True,  # so that `close` reaches its descendants, and Ctrl-C only us
            env={**os.environ, **(environ or {}), **told_to},
            text=True,
        )
        os.close(told)

    def interval(self) -> Interval:
        """Let the process work for an interval.

        Raises:
            UserError: It ended.
        """
        from rl_coordconv.runs.config import (
            UserError,  # here, for a candidate would carry it in memory
        )

        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
            report = self._reports.readline()
        except BrokenPipeError:
            report = ""
        if not report:
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise UserError(
                f"{self._script} ended early: {said[-1] if said else 'it said nothing.'}"
            )
        interval: Interval = json.loads(report)
        return interval

    def close(self) -> None:
        """End the process and its descendants."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()  # closes its input, and waits
        self._reports.close()
        self._said.close()


def interleave_processes(
    candidates: Mapping[str, Callable[[], Candidate]], rounds: int
) -> dict[str, list[Interval]]:
    """Give each candidate one interval a round, in an order that changes from round to round.

    Args:
        candidates: What starts each of them, by name.
        rounds: Rounds that count.

    Returns:
        The intervals of each, one a round, by name.

    Raises:
        UserError: A process ended.
    """
    from rl_coordconv.bench.timing import progress  # as above

    order = random.Random(0)
    intervals: dict[str, list[Interval]] = {name: [] for name in candidates}
    with ExitStack() as stack:
        started = {}
        for name, start in candidates.items():
            started[name] = start()
            stack.callback(started[name].close)
        for a_round in progress(range(-WARM_UP, rounds), "Racing"):
            for name in order.sample(list(started), len(started)):
                interval = started[name].interval()
                if a_round >= 0:
                    intervals[name].append(interval)
    return intervals


_interval: dict[str, float] = {}  # of this process, if it is a candidate: where its interval began


def between_updates(steps: int) -> None:
    """Inside a candidate: end the interval if its time is over, and wait for the next one.

    Args:
        steps: What has been done since the process began.
    """
    now = time.perf_counter()
    if _interval:
        seconds = now - _interval["start"]
        if seconds < float(os.environ[_SECONDS]):
            return
        done = {"steps": steps - _interval["steps"], "seconds": seconds, "memory": _memory()}
        os.write(int(os.environ[_REPORTS]), json.dumps(done).encode() + b"\n")
    if not sys.stdin.readline():
        os._exit(0)  # the race is over, and nobody wants the rest
    _interval.update(steps=steps, start=time.perf_counter())


def _memory() -> float:
    """The most that this process has held, and what its descendants hold, in MiB."""
    status = Path("/proc/self/status").read_text()
    kibibytes = int(status.split("VmHWM:")[1].split()[0])
    for pid in _descendants(Path("/proc/self")):
        rollup = Path("/proc", pid, "smaps_rollup").read_text()
        kibibytes += int(rollup.split("Pss:")[1].split()[0])
    return kibibytes / 1024


def _descendants(process: Path) -> Iterator[str]:
    for task in (process / "task").iterdir():
        for child in (task / "children").read_text().split():
            yield child
            yield from _descendants(Path("/proc", child))


def main(argv: Sequence[str]) -> None:
    """Run a script's ``main``, whose training takes intervals.

    Args:
        argv: The script and its arguments.
    """
    script, *arguments = argv
    # The script decides what happens before torch is imported.
    run = runpy.run_path(script)["main"]
    from stable_baselines3.common.base_class import BaseAlgorithm

    original = BaseAlgorithm._update_current_progress_remaining

    def update(model: BaseAlgorithm, steps: int, total: int) -> None:
        between_updates(steps)
        original(model, steps, total)

    # `learn` calls it between each rollout and its update.
    setattr(BaseAlgorithm, original.__name__, update)
    run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
