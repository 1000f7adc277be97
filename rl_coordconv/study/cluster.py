"""A study's runs on a Ray cluster: each is a task, and Ray says where and when."""

from __future__ import annotations

import logging
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rl_coordconv import __version__
from rl_coordconv.experiments import ENVIRONMENT
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import InUse
from rl_coordconv.study.mirror import Files, Home, Mirror
from rl_coordconv.study.plan import Job
from rl_coordconv.study.worker import (
    CRASHED,
    GPUS_PER_RUN,
    IN_USE,
    INTERRUPTED,
    LOST,
    USER_ERROR,
    work,
)

_PROBE_SECONDS = 120
_NOTICE_SECONDS = 60  # in which Ray notices that a machine is gone, unless told otherwise

Machines = dict[str, dict[str, Any]]


class RayCluster:
    """Runs on whatever machines a Ray cluster has; it also does the queueing.

    A machine that sees the folder of all runs works in it. Any other one works in a folder of its
    own, and what is new there is brought home twice a minute.

    Args:
        address: Of the cluster, as in ``ray.init``: ``auto``, ``host:port``, or ``local`` to start
            one here.
        jobs: The runs, which some machine must be large enough for.
        log_dir: The folder of all runs.
        gpus_per_run: What share of a GPU a run takes; None is a quarter where there are any to use.
        shared: Whether other machines see that folder; None looks for it on each.
        push_seconds: How often they bring home what is new where they do not.

    Raises:
        UserError: No cluster answers there, or it is not fit for these runs.
    """

    def __init__(
        self,
        address: str,
        jobs: Sequence[Job],
        log_dir: Path,
        gpus_per_run: float | None = None,
        *,
        shared: bool | None = None,
        push_seconds: float = 30,
    ) -> None:
        _connect(address)
        if gpus_per_run is None:
            devices = {job.settings["device"] for job in jobs}
            may = devices != {"cpu"} and ray.cluster_resources().get("GPU")
            gpus_per_run = GPUS_PER_RUN if may or "cuda" in devices else 0
        self._gpus_per_run = gpus_per_run
        _check_size(jobs, gpus_per_run)
        _check_versions()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        home = ray.remote(Home).options(num_cpus=0, scheduling_strategy=here).remote()
        self._home = _RemoteHome(home)
        self._mirror = partial(Mirror, home=self._home, push_seconds=push_seconds)
        # Who sees it sees the folder, and not one of the same name.
        self._mark = log_dir.resolve() / f".study-{uuid.uuid4()}"
        if shared is not False:
            self._mark.touch()
        self._running: dict[ray.ObjectRef[int], Job] = {}
        self._crashed: list[tuple[Job, Machines, float]] = []
        self._commands_before: dict[Path, int] = {}
        self._stopping = False

    @property
    def has_room(self) -> bool:
        """Always: Ray has the queue."""
        return True

    def start(self, job: Job) -> None:
        """Hand a run to Ray."""
        self._commands_before[job.run.command] = _changed(job.run.command)
        task = _task.options(
            name=str(job.run.folder),
            num_cpus=_cores(job),
            num_gpus=self._gpus_per_run,
            runtime_env={"env_vars": ENVIRONMENT},
        )
        self._running[task.remote(job, _folder(job), str(self._mark), self._mirror)] = job

    def has_begun(self, job: Job) -> bool:
        """Whether a run has left the queue, as far as its folder says here."""
        return _changed(job.run.command) != self._commands_before[job.run.command]

    def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
        """The runs that ended, with their exit codes, as soon as there are any."""
        if self._running:
            ended, _ = ray.wait(list(self._running), timeout=seconds)
        else:
            time.sleep(seconds)
            ended = []
        for task in ended:
            job = self._running.pop(task)
            # Its machine may be gone, and the next one may work in the folder itself.
            self._home.forget(_folder(job))
            try:
                code = ray.get(task)
                # What looks like a mistake may be that machine's: no GPU, a full disk.
                yield job, CRASHED if code == USER_ERROR else code
            except TaskCancelledError:
                yield job, INTERRUPTED
            except RayTaskError as error:
                _append(job, error)
                yield job, IN_USE if isinstance(error.cause, InUse) else CRASHED
            except NodeDiedError as error:
                _append(job, error)
                yield job, LOST
            except RayError as error:  # perhaps the same, of which Ray knows no more yet
                _append(job, error)
                self._crashed.append((job, _machines(), time.monotonic() + _NOTICE_SECONDS))
        yield from self._explained()

    def _explained(self) -> Iterator[tuple[Job, int]]:
        """Crashed runs whose reason is known now: a machine is gone, or it is their own."""
        crashed, self._crashed = self._crashed, []
        for job, machines, deadline in crashed:
            if not machines.keys() <= _machines().keys() or self._stopping:
                yield job, LOST
            elif time.monotonic() > deadline:
                yield job, CRASHED
            else:
                self._crashed.append((job, machines, deadline))

    def stop(self) -> None:
        """Ask all runs to save and end; `wait` tells when they have."""
        self._stopping = True
        for task in self._running:
            ray.cancel(task)  # a KeyboardInterrupt there

    def close(self) -> None:
        """Leave the cluster."""
        self._mark.unlink(missing_ok=True)
        ray.shutdown()


class _RemoteHome:
    """Speaks for a `Home` on another machine."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def fetch(self, folder: str) -> tuple[int, Files]:
        fetched: tuple[int, Files] = ray.get(self._actor.fetch.remote(folder))
        return fetched

    def store(self, folder: str, holder: int, files: Files, names: Sequence[str]) -> None:
        ray.get(self._actor.store.remote(folder, holder, files, names))

    def release(self, folder: str, holder: int) -> None:
        ray.get(self._actor.release.remote(folder, holder))

    def forget(self, folder: str) -> None:
        self._actor.forget.remote(folder)


# One run, one process: a run leaves settings of torch and open files behind.
@ray.remote(max_calls=1, max_retries=0)
def _task(job: Job, folder: str, mark: str, make_mirror: Callable[[str], Mirror]) -> int:
    if Path(mark).exists():
        return work(job, Path(folder))
    with make_mirror(folder) as mirror:
        return work(job, mirror.folder)


def _connect(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if colon and "/" not in address:  # Ray itself would try for minutes
        if not port.isdecimal():
            raise UserError(f"{address} is no address of a Ray cluster, as 10.0.0.1:6379 is one.")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise _no_answer(address, error) from None
    try:
        ray.init(
            address=address,
            log_to_driver=False,  # a run's output is in its folder
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0].rstrip(".")
    return UserError(
        f"No Ray cluster lets us in at {address}: {reason}; `ray start --head` starts one, and one"
        " that has a token wants RAY_AUTH_MODE=token and the same token here."
    )


def _check_size(jobs: Sequence[Job], gpus_per_run: float) -> None:
    """Ray would wait for ever for a machine that is large enough."""
    if gpus_per_run > 1 and gpus_per_run != int(gpus_per_run):
        raise UserError(f"--gpus-per-run above 1 must be a whole number, not {gpus_per_run}.")
    machines = [machine["Resources"] for machine in _machines().values()]
    for job in jobs:
        if not any(
            machine.get("CPU", 0) >= _cores(job) and machine.get("GPU", 0) >= gpus_per_run
            for machine in machines
        ):
            raise UserError(
                f"No machine of the cluster has {_cores(job)} cores and {gpus_per_run:g} GPUs for a"
                " run; lower --num-threads or --gpus-per-run."
            )


def _machines() -> Machines:
    """What Ray knows of the cluster's machines, by their IDs."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _cores(job: Job) -> int:
    """All that the largest machine has, for a run that takes all of its machine."""
    largest = max(machine["Resources"].get("CPU", 0) for machine in _machines().values())
    return int(job.settings["num_threads"] or largest)


def _check_versions() -> None:
    """A machine that fails every run at once is free at once, and would get all of them."""
    for number, machine in _machines().items():
        there = NodeAffinitySchedulingStrategy(number, soft=False)
        probe = ray.remote(_version).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        name = machine["NodeManagerHostname"]
        try:
            found = ray.get(probe.remote(), timeout=_PROBE_SECONDS)
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"rl_coordconv cannot be used on {name}: {reason}") from None
        if found != __version__:
            raise UserError(f"rl_coordconv is {found} on {name} and {__version__} here.")


def _version() -> str:
    """A machine's version, once all that the largest training imports is found there."""
    import rl_coordconv.experiments.atari.train

    return rl_coordconv.__version__


def _folder(job: Job) -> str:
    """A run's folder at home."""
    return str(job.run.folder.resolve())


def _changed(path: Path) -> int:
    """When a file was changed; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _append(job: Job, error: object) -> None:
    """Say in a run's output what Ray says about it."""
    with suppress(OSError):  # of a full disk, say; the other runs go on
        job.run.folder.mkdir(parents=True, exist_ok=True)
        with job.run.output.open("a") as file:
            file.write(f"{error}\n")
