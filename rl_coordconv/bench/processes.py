"""Measure training scripts side by side: one process each, of which only one runs at a time."""

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

WARM_UP = 1  # unmeasured rounds


@dataclass(frozen=True)
class Interval:
    """The measurements of a candidate between two pauses."""

    steps: int
    seconds: float
    memory: float  # MiB, the peak so far


@dataclass(frozen=True)
class Candidate:
    """A command to measure.

    Args:
        script: A Python file whose ``main(argv)`` trains with Stable-Baselines3 or calls
            `candidate.between_updates`.
        argv: Arguments of ``main``.
        seconds: Minimum length of an interval, which ends after an update.
        environ: Default environment variables; those already set take precedence.
    """

    script: Path
    argv: Sequence[str]
    seconds: float
    environ: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def process(self) -> Iterator[Callable[[], Interval]]:
        """Start the process, and kill it and its descendants on exit.

        Yields:
            A function that runs the process for one interval and returns its measurements, or
            raises a `UserError` if the process has ended.
        """
        receiver, sender = os.pipe()
        environ = {**self.environ, **os.environ, REPORTS: str(sender), SECONDS: str(self.seconds)}
        # Write output to a file, because an unread pipe would block the process when full.
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
                start_new_session=True,  # no Ctrl-C from us, and killpg reaches descendants
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
                reason = lines[-1] if lines else "no output."
                raise UserError(f"{self.script.name} ended early: {reason}")

            try:
                yield work
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()  # closes stdin and waits


@contextmanager
def running(candidates: Mapping[str, Candidate]) -> Iterator[dict[str, Callable[[], Interval]]]:
    """Start all processes side by side, and run each for `WARM_UP` intervals.

    Args:
        candidates: The commands, by name. Their processes stay alive until the block ends.

    Yields:
        Functions that run a process for one interval, by name; see `Candidate.process`.

    Raises:
        UserError: A process ended early.
    """
    with ExitStack() as stack:
        works = {name: stack.enter_context(c.process()) for name, c in candidates.items()}
        interleave(works, 0, WARM_UP, "Starting")  # so that all imports are over
        yield works


def interleave_processes(
    candidates: Mapping[str, Candidate], rounds: int
) -> dict[str, list[Interval]]:
    """Run each candidate for one interval per round, in random order within a round.

    Args:
        candidates: The commands, by name.
        rounds: Number of measured rounds.

    Returns:
        The intervals of each candidate, one per round, by name.

    Raises:
        UserError: A process ended early.
    """
    with running(candidates) as works:
        return interleave(works, rounds, 0, "Measuring")
