"""A study's runs on a Ray cluster: each is a task, and Ray says where."""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rl_coordconv import __version__
from rl_coordconv.config import UserError
from rl_coordconv.study.mirror import Home, Mirror
from rl_coordconv.study.plan import Job
from rl_coordconv.study.worker import ENVIRONMENT, GPUS_PER_RUN, work

_CRASHED = 1
_USER_ERROR = 2


class RayCluster:
    """Runs on whatever machines a Ray cluster has; it also does the queueing.

    A machine that sees the folder of all runs works in it. Any other one works in a folder of its
    own, and what is new there is brought home twice a minute.

    Args:
        address: Of the cluster, as in ``ray.init``: ``auto``, ``host:port``, or ``local`` to start
            one here.
        log_dir: The folder of all runs.
        gpus_per_run: What share of a GPU a run takes; None decides by whether there are any.
        shared: Whether other machines see that folder; None looks for it on each.
        push_seconds: How often they bring home what is new where they do not.

    Raises:
        UserError: No cluster answers there.
    """

    def __init__(
        self,
        address: str,
        log_dir: Path,
        gpus_per_run: float | None = None,
        *,
        shared: bool | None = None,
        push_seconds: float = 30,
    ) -> None:
        _connect(address)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        home = ray.remote(Home).options(num_cpus=0, scheduling_strategy=here).remote()
        self._mirror = partial(Mirror, home=home, push_seconds=push_seconds)
        if gpus_per_run is None:
            gpus_per_run = GPUS_PER_RUN if ray.cluster_resources().get("GPU") else 0
        self._gpus_per_run = gpus_per_run
        # Who sees it sees the folder, and not one of the same name.
        self._mark = log_dir.resolve() / f".study-{uuid.uuid4()}"
        if shared is not False:
            self._mark.touch()
        self._running: dict[ray.ObjectRef[int], Job] = {}

    @property
    def has_room(self) -> bool:
        """Always: Ray has the queue."""
        return True

    def start(self, job: Job) -> None:
        """Hand a run to Ray."""
        task = _task.options(
            name=str(job.run.folder),
            num_cpus=job.settings["num_threads"] or os.cpu_count(),
            num_gpus=self._gpus_per_run,
            runtime_env={"env_vars": ENVIRONMENT},
        )
        self._running[
            task.remote(
                job, str(job.run.folder.resolve()), str(self._mark), self._mirror, __version__
            )
        ] = job

    def wait(self, seconds: float) -> Iterator[tuple[Job, int]]:
        """The runs that ended, with their exit codes, as soon as there are any."""
        ended, _ = ray.wait(list(self._running), timeout=seconds)
        for task in ended:
            job = self._running.pop(task)
            try:
                code = ray.get(task)
            except TaskCancelledError:
                code = 128 + signal.SIGINT
            except RayTaskError as error:
                code = _USER_ERROR if isinstance(error.cause, UserError) else _CRASHED
                _append(job, error.cause if code == _USER_ERROR else error)
            except RayError as error:
                code = _CRASHED
                _append(job, error)
            yield job, code

    def stop(self) -> None:
        """Ask all runs to save and end; `wait` tells when they have."""
        for task in self._running:
            ray.cancel(task)  # a KeyboardInterrupt there

    def close(self) -> None:
        """Leave the cluster."""
        self._mark.unlink(missing_ok=True)
        ray.shutdown()


def _connect(address: str) -> None:
    try:
        if ":" in address and "/" not in address:  # Ray itself would try for minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(
            address=address,
            log_to_driver=False,  # a run's output is in its folder
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (RayError, OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"No Ray cluster answers at {address}: {reason}; start one with `ray start --head`, and"
            " use its token."
        ) from None


# One run, one process: a run leaves settings of torch and open files behind.
@ray.remote(max_calls=1, max_retries=0)
def _task(
    job: Job, folder: str, mark: str, make_mirror: Callable[[str], Mirror], version: str
) -> int:
    if version != __version__:
        raise UserError(
            f"rl_coordconv is {__version__} on {os.uname().nodename} and {version} where the study"
            " was started; install the same one."
        )
    if Path(mark).exists():
        return work(job, Path(folder))
    with make_mirror(folder) as mirror:
        return work(job, mirror.folder)


def _append(job: Job, error: object) -> None:
    """Say in a run's output what Ray says about it."""
    job.run.folder.mkdir(parents=True, exist_ok=True)
    with job.run.output.open("a") as file:
        file.write(f"{error}\n")
