"""Run the command line of a study: train its runs, list them or print their commands."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from rich.console import Console

from rl_coordconv.experiments import CONFIGS
from rl_coordconv.runs.config import UserError, flag
from rl_coordconv.runs.console import flush_output
from rl_coordconv.runs.device import visible_gpus
from rl_coordconv.runs.files import new_folder
from rl_coordconv.runs.folder import refuse_other_run
from rl_coordconv.runs.shell import shell_command
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.measure import measure
from rl_coordconv.study.plan import PlannedRun, read_study
from rl_coordconv.study.progress import Estimate
from rl_coordconv.study.supervise import Backend, supervise
from rl_coordconv.study.table import LiveTable, best_runs, cost_table, count_runs
from rl_coordconv.study.worker import GPUS_PER_RUN

BackendName = Literal["local", "ray", "print"]
_FILE_COLUMNS = 10_000  # without a terminal, lines are not wrapped


@dataclass
class Options:
    """The parsed command line of a study.

    Attributes:
        study: The study file.
        settings: Settings of the runs that replace those of the study, as text by name.
        gpus_per_run: Share of a GPU for each run; None for a quarter if there are GPUs.
        measure: Measure unknown speeds for the list.
        parallel: The number of runs at once on this machine; None for as many as its cores allow.
        retries: Attempts after a failure without a new checkpoint.
    """

    study: Path = Path()
    settings: Mapping[str, str] = field(default_factory=dict)
    list: bool = False
    measure: bool = False
    dry_run: bool = False
    backend: BackendName = "local"
    address: str | None = None
    parallel: int | None = None
    gpus_per_run: float | None = None
    retries: int = 2


FLAGS = {"--help", *(flag(option.name) for option in fields(Options))} - {"--study", "--settings"}
"""The flags of the study itself; any other flag is a setting of its runs."""


def run_study(options: Options) -> int:
    """Train the runs of a study, or list them, and return the exit code.

    Args:
        options: The parsed command line.

    Raises:
        UserError: An option or a setting is wrong; no run was started.
    """
    runs = read_study(options.study, CONFIGS, options.settings, FLAGS)
    for planned in runs:
        refuse_other_run(planned.run, planned.config, remedy="delete that folder")
    console = Console()
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    left = [planned for planned in runs if not planned.run.is_finished]
    code = 0
    failed: list[PlannedRun] = []
    if options.list:
        code = _list(runs, options, console)
    elif options.dry_run or options.backend == "print":
        for planned in left:
            console.out(planned.command(), highlight=False)
        if not left:  # on stderr: stdout is for commands
            print(_finished(runs), file=sys.stderr)
        return 0
    elif left:
        code, failed = _train(runs, options, console)
    for line in _summary(runs, failed, code):
        with suppress(OSError):  # a full disk, say
            console.out(line, highlight=False)
    flush_output()
    return code


def _list(runs: list[PlannedRun], options: Options, console: Console) -> int:
    """Print a table of the runs and their remaining times, and return the exit code."""
    runs, pool = _on_this_machine(runs, options.parallel, options.gpus_per_run)
    estimate = Estimate(runs)
    errors = measure(estimate, runs, pool, console) if options.measure else {}
    console.print(cost_table(runs, estimate, pool.n_slots))
    for folder, error in errors.items():
        console.out(f"Cannot measure {folder}: {error}", highlight=False)
    if estimate.unknown(runs) and not options.measure:
        console.print("Add --measure to estimate how long they take.", highlight=False)
    return 1 if errors else 0


def _train(
    runs: list[PlannedRun], options: Options, console: Console
) -> tuple[int, list[PlannedRun]]:
    """Train the runs, and return the exit code and the runs that failed."""
    runs, backend = _backend(runs, options)
    table = LiveTable(runs, console)
    table.say(
        f"{count_runs(runs)}. Ctrl-C saves and stops. To watch:"
        f" tensorboard --logdir {shlex.quote(str(_log_dir(runs)))}"
    )
    try:
        code = supervise(runs, backend, options.retries, table)
    finally:
        backend.close()
    return code, table.failed()


def _summary(runs: Sequence[PlannedRun], failed: Sequence[PlannedRun], code: int) -> Iterator[str]:
    """Yield lines on the results of a study and what to do next."""
    for planned in failed:
        output = planned.run.output
        is_whole = output.exists() and output.read_bytes().endswith(b"\n")
        end = "" if is_whole else " (cut off: the disk is full, or the run was killed)"
        yield f"Failed: {planned.run.folder}; its output is in {output}{end}"
    if all(planned.run.is_finished for planned in runs):
        yield _finished(runs)
    elif code > 128:
        saved = "Stopped; the other runs are saved" if failed else "Stopped and saved"
        yield f"{saved}. Run the same command again to resume."
    elif failed:
        yield "Run the same command again to retry."
    if code <= 128:
        yield from best_runs(runs)
    if any(planned.run.episodes.exists() for planned in runs):
        folder = os.path.commonpath([planned.run.folder.parent for planned in runs])
        yield f"To compare the runs: {shell_command('compare', folder)}"


def _finished(runs: Sequence[PlannedRun]) -> str:
    few = {1: "The run is", 2: "Both runs are"}
    which = few.get(len(runs), f"All {len(runs)} runs are")
    return f"{which} finished. Use a larger {flag(runs[0].config.length_setting)} to train longer."


def _log_dir(runs: Sequence[PlannedRun]) -> Path:
    return Path(os.path.commonpath([planned.config.log_dir for planned in runs]))


def _backend(runs: list[PlannedRun], options: Options) -> tuple[list[PlannedRun], Backend]:
    """Create the backend and assign threads to each run."""
    log_dir = _log_dir(runs)
    try:
        with new_folder(log_dir):
            tempfile.TemporaryFile(dir=log_dir).close()
    except OSError as error:
        raise UserError(f"Cannot write to {log_dir}: {error.strerror}.") from None
    devices = {planned.config.device for planned in runs}
    if numbered := [device for device in devices if device.startswith("cuda:")]:
        raise UserError(
            f"{numbered[0]} is one GPU, but a study assigns GPUs to its runs: choose --device"
            " cuda, and select GPUs with CUDA_VISIBLE_DEVICES."
        )
    if options.backend == "local":
        if "cuda" in devices and not visible_gpus():
            raise UserError("There is no GPU on this machine; choose --device cpu.")
        return _on_this_machine(runs, options.parallel, options.gpus_per_run)
    if any(planned.config.experiment == "apex" for planned in runs):
        # Its processes would wait for the cores that runs hold, perhaps forever.
        raise UserError(
            "Ape-X starts processes on Ray itself: choose --backend local; to use a cluster, set"
            " `address: auto` in the study file and add --parallel 1."
        )
    address = options.address or "auto"
    if address != "local":
        # Ray reads this at import, and then tries for one minute, instead of 15, to reach a cluster
        # that is down.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    try:
        from rl_coordconv.study.cluster import RayCluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("--backend ray needs Ray: pip install 'rl_coordconv[ray]'.") from None
    return runs, RayCluster(address, runs, log_dir, options.gpus_per_run)


def _on_this_machine(
    runs: list[PlannedRun], parallel: int | None, gpus_per_run: float | None
) -> tuple[list[PlannedRun], LocalPool]:
    """Create a pool with as many slots as cores and GPUs allow, and assign threads to each run.

    With fewer unfinished runs than slots, each gets more threads, unless the study sets them.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    n_slots = max(cores // max(planned.config.num_threads or cores for planned in runs), 1)
    gpus = [] if all(planned.config.device == "cpu" for planned in runs) else visible_gpus()
    share = GPUS_PER_RUN if gpus_per_run is None else gpus_per_run
    if gpus and share:
        n_slots = max(min(n_slots, int(len(gpus) / share)), 1)
    n_slots = parallel or n_slots
    n_left = sum(not planned.run.is_finished for planned in runs)
    threads = max(cores // max(min(n_slots, n_left), 1), 1)
    return [planned.with_threads(threads) for planned in runs], LocalPool(n_slots, gpus)
