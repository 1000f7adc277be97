"""The command line of a study."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from rl_coordconv.experiments import EXPERIMENTS
from rl_coordconv.runs.config import Parser, UserError, flag, nearest
from rl_coordconv.runs.console import flush_output
from rl_coordconv.runs.device import visible_gpus
from rl_coordconv.runs.folder import refuse_other_config, refuse_other_files
from rl_coordconv.study.local import LocalPool
from rl_coordconv.study.plan import Job, read_study
from rl_coordconv.study.progress import Estimate
from rl_coordconv.study.supervise import Backend, supervise
from rl_coordconv.study.table import LiveTable, cost_table
from rl_coordconv.study.worker import GPUS_PER_RUN


def main(argv: Sequence[str] | None, description: str | None, root: Path) -> int:
    """Do what a command line says, and return the exit code.

    Args:
        argv: The command line; None for the process's own.
        description: What the script does.
        root: The folder with ``configs`` and ``scripts``.

    Raises:
        UserError: Something in it is wrong; no run was started.
    """
    options, flags = _parse(argv, description)
    jobs = read_study(options.study, root / "configs", flags)
    for job in jobs:
        refuse_other_files(job.run)
        if job.run.config.exists():
            refuse_other_config(job.run, job.config, remedy="delete that folder")
    scripts = os.path.relpath(root / "scripts")
    console = Console()
    if options.dry_run or options.backend == "print":
        for job in jobs:
            if not job.run.is_finished:
                console.out(job.command(scripts), highlight=False)
        return 0
    if options.list:
        jobs, pool = _on_this_machine(jobs, options)
        estimate = Estimate(jobs)
        estimate.measure(jobs, pool)
        console.print(cost_table(jobs, estimate, pool.n_slots))
        return 0
    jobs, backend = _backend(jobs, options)
    table = LiveTable(jobs, console)
    try:
        code = supervise(jobs, backend, options.retries, table)
    finally:
        backend.close()
    for line in _last_words(jobs, table.failed(), code, scripts):
        table.say(line)
    flush_output()
    return code


def _last_words(jobs: list[Job], failed: list[Job], code: int, scripts: str) -> Iterator[str]:
    """How a study ended, and what to do next."""
    for job in failed:
        output = job.run.output
        is_whole = output.exists() and output.read_bytes().endswith(b"\n")
        end = "" if is_whole else ", which is cut off: the disk is full, or it was killed"
        yield f"Failed: {job.run.folder}; what it printed: {output}{end}"
    if code > 128:
        saved = "Stopped; the other runs are saved" if failed else "Stopped and saved"
        yield f"{saved}; the same command goes on from here."
    if any(job.run.episodes.exists() for job in jobs):
        folder = os.path.commonpath([job.run.folder.parent for job in jobs])
        yield f"To compare the runs: {shlex.join(['python', f'{scripts}/compare.py', folder])}"


def _parse(
    argv: Sequence[str] | None, description: str | None
) -> tuple[argparse.Namespace, dict[str, str]]:
    """The options of the study, and the flags that set something in its runs."""
    parser = Parser(
        description=description,
        epilog="Every setting of the experiments but `backend` is a flag too, as --total-timesteps"
        " 1000000 or --seed 0,1,2, and replaces what the study says.",
    )
    add = parser.add_argument
    add("study", type=Path, metavar="FILE", help="as configs/studies/*.yaml")
    add("--list", action="store_true", help="show the runs and what each will cost")
    add("--dry-run", action="store_true", help="show the runs' commands")
    add(
        "--backend",
        choices=("local", "ray", "print"),
        default="local",
        help="this machine, a Ray cluster, or a shell line per run, as for a Slurm array",
    )
    add(
        "--address",
        help="of the Ray cluster: auto, host:port, or local to start one here (default: auto)",
    )
    add(
        "--parallel",
        type=int,
        help="runs at once on this machine (default: as many as it has cores for)",
    )
    add(
        "--gpus-per-run",
        type=float,
        help=f"share of a GPU (default: {GPUS_PER_RUN} where there is one)",
    )
    add(
        "--retries",
        type=int,
        default=2,
        help="further tries of a run that fails without getting further (default: 2)",
    )
    own = set(vars(parser.parse_known_args(["FILE"])[0]))
    fields = {name for e in EXPERIMENTS.values() for name in e.config_class().model_fields}
    settings = {"experiment", *fields} - own
    for name in sorted(settings):
        add(flag(name), default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    options, unknown = parser.parse_known_args(argv)
    if unknown:
        flags = map(flag, own | settings)
        raise UserError(f"There is no flag {unknown[0]}; {nearest(unknown[0], flags)}")
    for name, least in ("parallel", 1), ("gpus_per_run", 0), ("retries", 0):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"{flag(name)} must be at least {least}, not {value}.")
    if options.address and options.backend != "ray":
        raise UserError("--address is that of a Ray cluster; say --backend ray too.")
    return options, {name: value for name, value in vars(options).items() if name in settings}


def _backend(jobs: list[Job], options: argparse.Namespace) -> tuple[list[Job], Backend]:
    """What does the runs, and the runs as it does them."""
    log_dir = Path(os.path.commonpath([str(job.settings["log_dir"]) for job in jobs]))
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=log_dir).close()
    except OSError as error:
        raise UserError(f"Cannot write to {log_dir}: {error.strerror}.") from None
    devices = {str(job.settings["device"]) for job in jobs}
    if numbered := [device for device in devices if device.startswith("cuda:")]:
        raise UserError(
            f"{numbered[0]} is one GPU, and a study hands them out itself: take --device cuda, and"
            " CUDA_VISIBLE_DEVICES to say which."
        )
    if options.backend == "local":
        if "cuda" in devices and not visible_gpus():
            raise UserError("There is no GPU on this machine; take --device cpu.")
        return _on_this_machine(jobs, options)
    address = options.address or "auto"
    if address != "local":
        # Ray reads it when it is imported: it would try a cluster that is gone for a quarter of an
        # hour, and now for a minute.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    try:
        from rl_coordconv.study.cluster import RayCluster
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("--backend ray needs Ray: pip install 'rl_coordconv[ray]'.") from None
    return jobs, RayCluster(address, jobs, log_dir, options.gpus_per_run)


def _on_this_machine(jobs: list[Job], options: argparse.Namespace) -> tuple[list[Job], LocalPool]:
    """As many runs at once as there are cores for, and shares of GPUs.

    Where fewer are left to do, each gets more threads, unless the study says how many.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    n_slots = max(cores // max(job.settings["num_threads"] or cores for job in jobs), 1)
    gpus = [] if all(job.settings["device"] == "cpu" for job in jobs) else visible_gpus()
    share = GPUS_PER_RUN if options.gpus_per_run is None else options.gpus_per_run
    if gpus and share:
        n_slots = max(min(n_slots, int(len(gpus) / share)), 1)
    n_slots = options.parallel or n_slots
    n_left = sum(not job.run.is_finished for job in jobs)
    threads = max(cores // max(min(n_slots, n_left), 1), 1)
    return [job.with_threads(threads) for job in jobs], LocalPool(n_slots, gpus)
