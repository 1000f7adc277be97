"""Trainings measured side by side: each in its own process, and only one at work at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from rl_coordconv.bench.candidate import REPORTS, SECONDS
from rl_coordconv.bench.timing import interleave
from rl_coordconv.runs.config import UserError

WARM_UP = 1  # rounds that do not count


@dataclass(frozen=True)
class Interval:
    """The work of a candidate between two pauses."""

    steps: int
    seconds: float
    memory: float  # MiB, the peak so far


@dataclass(frozen=True)
class Candidate:
    """A command to measure.

    Args:
        script: A Python file whose ``main(argv)`` trains with Stable-Baselines3, or calls
            `candidate.between_updates` itself.
        argv: Its arguments.
        seconds: Minimum length of an interval, which ends with an update.
        environ: Environment variables; those that are set already win.
    """

    script: Path
    argv: Sequence[str]
    seconds: float
    environ: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def process(self) -> Iterator[Callable[[], Interval]]:
        """Start a process, and end it and its descendants on leaving.

        Yields:
            A function that lets the process work for an interval, or raises a `UserError` if the
            process has ended.
        """
        receiver, sender = os.pipe()
        environ = {**self.environ, **os.environ, REPORTS: str(sender), SECONDS: str(self.seconds)}
        # Output goes to a file because a full pipe that nobody reads would block the process.
        with (
            os.fdopen(receiver) as reports,
            tempfile.TemporaryFile("w+", errors="replace") as output,
        ):
            process = subprocess.Popen(
                [sys.executable, "-m", "rl_coordconv.bench.candidate", self.script, *self.argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=output,
                pass_fds=[sender],
                start_new_session=True,  # Ctrl-C reaches only us, and killpg its descendants
                env=environ,
                text=True,
            )
            os.close(sender)
            assert process.stdin is not None
            stdin = process.stdin

            def work() -> Interval:
                with suppress(BrokenPipeError):
                    stdin.write("\n")
                    stdin.flush()
                    if report := reports.readline():
                        return Interval(**json.loads(report))
                output.seek(0)
                lines = output.read().strip().splitlines()
                reason = lines[-1] if lines else "it printed no reason."
                raise UserError(f"{self.script.name} ended early: {reason}")

            try:
                yield work
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()  # closes its input, and waits


def interleave_processes(
    candidates: Mapping[str, Candidate], rounds: int
) -> dict[str, list[Interval]]:
    """Let each candidate work for one interval a round, in an order that changes by round.

    Args:
        candidates: The commands, by name; their processes stay alive for all rounds.
        rounds: Rounds that count.

    Returns:
        The intervals of each, one a round, by name.

    Raises:
        UserError: A process ended.
    """
    with ExitStack() as stack:
        works = {name: stack.enter_context(c.process()) for name, c in candidates.items()}
        return interleave(works, rounds, WARM_UP, "Measuring")
