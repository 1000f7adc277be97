"""One run of a study, in a process of its own."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import flush_output
from rl_coordconv.runs.files import disk_errors
from rl_coordconv.runs.folder import InUse, Run, run_experiment
from rl_coordconv.study.plan import Job

GPUS_PER_RUN = 0.25  # a guess, where there are any: not measured on a GPU yet

# Exit codes of a run.
CRASHED = 1
USER_ERROR = 2  # a mistake, or a full disk
IN_USE = 75  # another process works on it: EX_TEMPFAIL of sysexits.h
INTERRUPTED = 128 + signal.SIGINT
LOST = 128 + signal.SIGTERM  # its machine is gone: as if it had been asked to stop

_PATIENCE_SECONDS = 10  # a process that lost its study may need a moment to let go


def work(job: Job, folder: Path) -> int:
    """Do a run, or what is left of it, as its script would.

    What it prints goes into the run's ``output.txt``: the process is not good for anything else
    afterwards.

    Args:
        job: The run.
        folder: Where it lies on this machine.

    Returns:
        The exit code that its script would have, or one of the above.
    """
    sys.argv = shlex.split(job.command("scripts"))[1:]  # for the run's command.txt
    try:
        with disk_errors(folder):
            _print_to(Path(os.devnull))  # what the folder does not take is not for the terminal
            folder.mkdir(parents=True, exist_ok=True)
            _print_to(Run(folder).output)
        train = job.experiment.train()
        code = run_experiment(train, job.config, folder=folder, patience=_PATIENCE_SECONDS)
    except InUse:
        code = IN_USE
    except UserError as error:
        code = _say(str(error), USER_ERROR)
    except KeyboardInterrupt:
        code = _say("Interrupted.", INTERRUPTED)
    except Exception:
        code = _say(traceback.format_exc(), CRASHED)
    flush_output()
    return code


def _print_to(path: Path) -> None:
    with path.open("a") as output:
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())


def _say(text: str, code: int) -> int:
    with suppress(OSError):
        print(text, flush=True)
    return code
