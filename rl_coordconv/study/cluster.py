"""Run a study on a Ray cluster: each run is a Ray task, which Ray schedules."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rl_coordconv import __version__
from rl_coordconv.experiments import ENVIRONMENT, find_experiment
from rl_coordconv.experiments.apex.cluster import ray_cluster
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import InUse
from rl_coordconv.study.mirror import Files, Mirror, RunStore
from rl_coordconv.study.plan import PlannedRun
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
_NOTICE_SECONDS = 60  # until Ray notices a lost machine, with its default settings

Machines = dict[str, dict[str, Any]]


class RayCluster:
    """A backend that trains runs on a Ray cluster.

    A machine that shares the folder of all runs trains in it. Any other machine trains in a copy of
    a run's folder, from which new files are copied back every ``push_seconds``.

    Args:
        address: As in ``ray.init``: ``auto``, ``host:port``, or ``local`` to start a cluster here.
        runs: The runs, each of which must fit on some machine.
        log_dir: The parent folder of all runs.
        gpus_per_run: Share of a GPU for each run; None for a quarter if there are GPUs to use.
        push_seconds: Seconds between copies.

    Raises:
        UserError: The cluster cannot be reached or cannot train these runs.
    """

    def __init__(
        self,
        address: str,
        runs: Sequence[PlannedRun],
        log_dir: Path,
        gpus_per_run: float | None = None,
        push_seconds: float = 30,
    ) -> None:
        self._connection = ExitStack()
        self._connection.enter_context(ray_cluster(address))
        try:
            self._set_up(runs, log_dir, gpus_per_run)
        except BaseException:
            self._connection.close()
            raise
        self._push_seconds = push_seconds
        self._running: dict[ray.ObjectRef[int], PlannedRun] = {}
        self._crashed: list[tuple[PlannedRun, Machines, float]] = []
        self._stopping = False

    def _set_up(
        self, runs: Sequence[PlannedRun], log_dir: Path, gpus_per_run: float | None
    ) -> None:
        """Check the cluster, and start the store of the runs' files on it."""
        if gpus_per_run is None:
            devices = {planned.config.device for planned in runs}
            may = devices != {"cpu"} and ray.cluster_resources().get("GPU")
            gpus_per_run = GPUS_PER_RUN if may or "cuda" in devices else 0
        self._gpus_per_run = gpus_per_run
        _check_size(runs, gpus_per_run)
        _check_machines(sorted({planned.config.experiment for planned in runs}))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(RunStore).options(num_cpus=0, scheduling_strategy=here).remote()
        self._store = _RemoteStore(actor)
        # A machine that sees this file shares the folder, not just a folder of the same name.
        self._mark = log_dir.resolve() / f".study-{uuid.uuid4()}"
        log_dir.mkdir(parents=True, exist_ok=True)
        self._mark.touch()

    @property
    def has_room(self) -> bool:
        """Whether another run can be started: always, as Ray has the queue."""
        return True

    def start(self, planned: PlannedRun) -> None:
        """Submit a run to Ray."""
        task = _task.options(
            name=str(planned.run.folder),
            num_cpus=_cores(planned),
            num_gpus=self._gpus_per_run,
            runtime_env={"env_vars": ENVIRONMENT},
        ).remote(planned, _folder(planned), str(self._mark), self._store, self._push_seconds)
        self._running[task] = planned

    def wait(self, seconds: float) -> Iterator[tuple[PlannedRun, int]]:
        """Wait until a run ends, and yield those that have, with their exit codes."""
        if self._running:
            ended, _ = ray.wait(list(self._running), timeout=seconds)
        else:
            time.sleep(seconds)
            ended = []
        for task in ended:
            planned = self._running.pop(task)
            # Its machine may be lost, and the next one may train in the folder itself.
            self._store.release(_folder(planned))
            try:
                code = ray.get(task)
                # Another machine may have what this one lacked, such as a GPU or disk space.
                yield planned, CRASHED if code == USER_ERROR else code
            except TaskCancelledError:
                yield planned, INTERRUPTED
            except RayTaskError as error:
                _append(planned, error)
                yield planned, IN_USE if isinstance(error.cause, InUse) else CRASHED
            except NodeDiedError as error:
                _append(planned, error)
                yield planned, LOST
            except RayError as error:  # perhaps a lost machine that Ray has not noticed yet
                _append(planned, error)
                self._crashed.append((planned, _machines(), time.monotonic() + _NOTICE_SECONDS))
        yield from self._explained()

    def _explained(self) -> Iterator[tuple[PlannedRun, int]]:
        """Yield the crashed runs of which it is now known whether their machine was lost."""
        crashed, self._crashed = self._crashed, []
        for planned, machines, deadline in crashed:
            if not machines.keys() <= _machines().keys() or self._stopping:
                yield planned, LOST
            elif time.monotonic() > deadline:
                yield planned, CRASHED
            else:
                self._crashed.append((planned, machines, deadline))

    def stop(self) -> None:
        """Ask all runs to save and stop; `wait` yields them once they have."""
        self._stopping = True
        for task in self._running:
            ray.cancel(task)  # raises KeyboardInterrupt there

    def close(self) -> None:
        """Leave the cluster."""
        self._mark.unlink(missing_ok=True)
        self._connection.close()


class _RemoteStore:
    """A `RunStore` in a Ray actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def fetch(self, folder: str) -> tuple[int, Files]:
        fetched: tuple[int, Files] = ray.get(self._actor.fetch.remote(folder))
        return fetched

    def save(self, folder: str, token: int, files: Files, names: Sequence[str]) -> None:
        ray.get(self._actor.save.remote(folder, token, files, names))

    def release(self, folder: str) -> None:
        with suppress(RayError):  # without the actor, nothing is locked
            ray.get(self._actor.release.remote(folder))


# One process per run, because a run changes torch's settings and leaves files open.
@ray.remote(max_calls=1, max_retries=0)
def _task(
    planned: PlannedRun, folder: str, mark: str, store: _RemoteStore, push_seconds: float
) -> int:
    if Path(mark).exists():
        return work(planned, Path(folder))
    with Mirror(folder, store, push_seconds) as mirror:
        return work(planned, mirror.folder)


def _check_size(runs: Sequence[PlannedRun], gpus_per_run: float) -> None:
    """Raise a `UserError` if a run fits on no machine, as Ray would wait for one forever."""
    if gpus_per_run > 1 and gpus_per_run != int(gpus_per_run):
        raise UserError(f"--gpus-per-run above 1 must be a whole number, not {gpus_per_run}.")
    machines = [machine["Resources"] for machine in _machines().values()]
    for cores in {_cores(planned) for planned in runs}:
        if not any(
            machine.get("CPU", 0) >= cores and machine.get("GPU", 0) >= gpus_per_run
            for machine in machines
        ):
            raise UserError(
                f"No machine of the cluster has {cores} cores and {gpus_per_run:g} GPUs for a"
                " run; lower --num-threads or --gpus-per-run."
            )


def _machines() -> Machines:
    """Return Ray's description of each machine of the cluster by its ID."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _cores(planned: PlannedRun) -> int:
    """Return the cores that a run needs; if it uses all, those of the largest machine."""
    largest = max(machine["Resources"].get("CPU", 0) for machine in _machines().values())
    return planned.config.num_threads or int(largest)


def _check_machines(experiments: Sequence[str]) -> None:
    """Raise a `UserError` if a machine lacks this package or what the experiments import.

    Such a machine would fail each run at once, be free again, and so get the next one.
    """
    for number, machine in _machines().items():
        there = NodeAffinitySchedulingStrategy(number, soft=False)
        probe = ray.remote(_version).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        name = machine["NodeManagerHostname"]
        try:
            found = ray.get(probe.remote(experiments), timeout=_PROBE_SECONDS)
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"rl_coordconv cannot be imported on {name}: {reason}") from None
        if found != __version__:
            raise UserError(f"{name} has rl_coordconv {found}, but this machine has {__version__}.")


def _version(experiments: Sequence[str]) -> str:
    """Import what the experiments need, and return this machine's version."""
    for name in experiments:
        find_experiment(name).train()
    return __version__


def _folder(planned: PlannedRun) -> str:
    """Return a run's folder on the machine of the study."""
    return str(planned.run.folder.resolve())


def _append(planned: PlannedRun, error: object) -> None:
    """Add Ray's message about a run to its output."""
    with suppress(OSError):  # a full disk, say, which must not stop the other runs
        planned.run.folder.mkdir(parents=True, exist_ok=True)
        with planned.run.output.open("a") as file:
            file.write(f"{error}\n")
