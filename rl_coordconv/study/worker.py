"""One run of a study, in a process of its own."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from rl_coordconv.config import one_sentence_errors
from rl_coordconv.run import InUse, Run, disk_errors, run_experiment
from rl_coordconv.study.plan import Job

# As in the scripts of single runs: idle threads are not to spin on the cores that emulate.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000"}

GPUS_PER_RUN = 0.25  # a guess, where there are any: not measured on a GPU yet

IN_USE = 75  # the exit code of a run that another process works on: EX_TEMPFAIL of sysexits.h
_PATIENCE_SECONDS = 10  # a process that lost its study may need a moment to let go


def work(job: Job, folder: Path) -> int:
    """Do a run, or what is left of it, as its script would.

    What it prints goes into the run's ``output.txt``: the process is not good for anything else
    afterwards.

    Args:
        job: The run.
        folder: Where it lies on this machine.

    Returns:
        The exit code that its script would have, or `IN_USE`.
    """
    sys.argv = shlex.split(job.command("scripts"))[1:]  # for the run's command.txt
    try:
        with one_sentence_errors():
            with disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                with Run(folder).output.open("a") as output:
                    os.dup2(output.fileno(), sys.stdout.fileno())
                    os.dup2(output.fileno(), sys.stderr.fileno())
            try:
                train = job.experiment.train()
                return run_experiment(train, job.config, folder=folder, patience=_PATIENCE_SECONDS)
            except InUse:
                return IN_USE
    except SystemExit as exit_:
        return int(exit_.code or 0)
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        with suppress(OSError):  # a full disk, of which the exit code tells
            sys.stdout.flush()
            sys.stderr.flush()
