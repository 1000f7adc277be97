"""Train one run of a study in its own process."""

from __future__ import annotations

import os
import pickle
import shlex
import signal
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from rl_coordconv.experiments import find_experiment
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import flush_output
from rl_coordconv.runs.files import disk_errors
from rl_coordconv.runs.folder import InUse, Run, run_experiment
from rl_coordconv.study.plan import PlannedRun

GPUS_PER_RUN = 0.25  # if there is a GPU; a guess, not measured

# Exit codes of a run.
CRASHED = 1
USER_ERROR = 2  # a user's mistake or a full disk
IN_USE = 75  # another process is using the folder: EX_TEMPFAIL of sysexits.h
INTERRUPTED = 128 + signal.SIGINT
LOST = 128 + signal.SIGTERM  # its machine was lost; handled like a stopped run

_PATIENCE_SECONDS = 10  # the process of a killed study may need a moment to release the folder


def work(planned: PlannedRun, folder: Path) -> int:
    """Start or resume a run as its script would, and return its exit code.

    From then on, all output of this process goes to the run's ``output.txt``.

    Args:
        planned: The run.
        folder: Its folder on this machine.

    Returns:
        The exit code of its script, or one of the constants above.
    """
    sys.argv = shlex.split(planned.command().removeprefix("python "))  # for command.txt
    try:
        with disk_errors(folder):
            _print_to(Path(os.devnull))  # no output if the folder cannot be written
            folder.mkdir(parents=True, exist_ok=True)
            _print_to(Run(folder).output)
        train = find_experiment(planned.config.experiment).train()
        code = run_experiment(train, planned.config, folder=folder, patience=_PATIENCE_SECONDS)
    except InUse:
        code = IN_USE
    except UserError as error:
        code = _fail(str(error), USER_ERROR)
    except KeyboardInterrupt:
        code = _fail("Interrupted.", INTERRUPTED)
    except Exception:
        code = _fail(traceback.format_exc(), CRASHED)
    flush_output()
    return code


def main() -> int:
    """Train the planned run that a `LocalPool` writes to stdin, and return the exit code."""
    planned = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_stop_with_study, daemon=True).start()
    return work(planned, planned.run.folder)


def _stop_with_study() -> None:
    """Save and stop if the study is killed, so that the restarted study can use the folder."""
    os.read(sys.stdin.fileno(), 1)  # returns when the study's end of the pipe closes
    os.kill(os.getpid(), signal.SIGTERM)


def _print_to(path: Path) -> None:
    with path.open("a") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())


def _fail(text: str, code: int) -> int:
    with suppress(OSError):
        print(text, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
