"""Run a training script in a benchmark process, paused between measured intervals.

`processes` starts this module as a subprocess. It imports little, because imports count towards the
candidate's memory.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# Environment variables: file descriptor for reports, and length of an interval in seconds.
REPORTS, SECONDS = "RL_COORDCONV_REPORTS", "RL_COORDCONV_SECONDS"

_start: dict[
    str, float
] = {}  # steps and time at the start of the interval; empty before the first one


def between_updates(steps: int) -> None:
    """Report the interval if its time is over, and wait for the start of the next one.

    Args:
        steps: Number of environment steps since the process started.
    """
    now = time.perf_counter()
    if _start:
        seconds = now - _start["time"]
        if seconds < float(os.environ[SECONDS]):
            return
        done = {"steps": steps - _start["steps"], "seconds": seconds, "memory": _memory()}
        os.write(int(os.environ[REPORTS]), json.dumps(done).encode() + b"\n")
    if not sys.stdin.readline():
        os._exit(0)  # the measurement is over
    _start.update(steps=steps, time=time.perf_counter())


def _memory() -> float:
    """Return the peak memory of this process plus the current memory of its descendants, in MiB."""
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
    """Run a script's ``main``, pausing its training between updates.

    Args:
        argv: Path of the script, then its arguments.
    """
    script, *arguments = argv
    # Run the script before importing torch, in case it sets environment variables for torch.
    run = runpy.run_path(script)["main"]
    from stable_baselines3.common.base_class import BaseAlgorithm

    original = BaseAlgorithm._update_current_progress_remaining

    def update(self: BaseAlgorithm, num_timesteps: int, total_timesteps: int) -> None:
        between_updates(num_timesteps)
        original(self, num_timesteps, total_timesteps)

    # `learn` calls this between each rollout and its update; mypy forbids replacing a method.
    BaseAlgorithm._update_current_progress_remaining = update  # type: ignore[method-assign]
    run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
