"""Studies on a real Ray cluster: two nodes on this machine, of which one is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from study.runs import (
    ROOT,
    SEEDS,
    TOY,
    assert_same_runs,
    children,
    finish,
    in_the_middle,
    runs_in,
    runs_of,
    start,
    start_python,
    starts,
    wait_until,
    write_study,
)

RAY = Path(sys.executable).parent / "ray"


@dataclass
class Cluster:
    """Nodes on this machine, of one core each."""

    address: str
    nodes: list[subprocess.Popen[bytes]]

    def add_node(self, *flags: str, **environment: str) -> None:
        command = [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = {**os.environ, **environment}
        self.nodes.append(subprocess.Popen([*command, *flags], env=env, **quiet))

    def kill_node(self, number: int) -> None:
        """As a machine is lost: with all that runs there, without a word to anyone."""
        node = self.nodes.pop(number)
        for pid in [node.pid, *descendants(node.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


def descendants(pid: int) -> list[int]:
    own = children(pid)
    return [*own, *(below for child in own for below in descendants(child))]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", os.urandom(16).hex())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's runs would wait for every other process
    # Ray notices within seconds that a machine is gone.
    monkeypatch.setenv("RAY_health_check_period_ms", "500")
    monkeypatch.setenv("RAY_health_check_timeout_ms", "2000")
    monkeypatch.setenv("RAY_health_check_failure_threshold", "3")
    cluster = Cluster(f"127.0.0.1:{port}", [])
    cluster.add_node("--head", f"--port={port}", "--include-dashboard=false")
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield cluster
    while cluster.nodes:
        cluster.kill_node(-1)


# A study that brings runs home often, for which that takes a while; its machines see the folder of
# its runs (None: those that do), as on a real cluster they may or may not.
STUDY = """
import sys, time
from pathlib import Path
from rich.console import Console
from rl_coordconv.study import cluster
from rl_coordconv.study.mirror import Home
from rl_coordconv.study.plan import read_study
from rl_coordconv.study.supervise import supervise
from rl_coordconv.study.table import LiveTable

shared, delay = {"apart": False, "mixed": None}[sys.argv[4]], float(sys.argv[5])

class SlowHome(Home):
    def store(self, *arguments):
        time.sleep(delay)  # Ray breaks off what a task that it stops waits for longer than a second
        super().store(*arguments)

study, configs, address = sys.argv[1:4]
jobs = read_study(Path(study), Path(configs))
log_dir = Path(jobs[0].settings["log_dir"])
log_dir.mkdir(exist_ok=True)
cluster.Home = SlowHome
backend = cluster.RayCluster(address, jobs, log_dir, shared=shared, push_seconds=0.2)
try:
    code = supervise(jobs, backend, 0, LiveTable(jobs, Console()))
finally:
    backend.close()
sys.exit(code)
"""


# Python on a machine that does not see the folder of runs which others see.
BLIND = """
from pathlib import Path

exists = Path.exists
Path.exists = lambda path, **options: ".study-" not in path.name and exists(path, **options)
"""


def start_on(cluster, study, folders, delay=0.0):
    """A study in which one failure of a run is too much; a lost machine is none."""
    if folders == "shared":
        return start(study, "--backend", "ray", "--address", cluster.address, "--retries", "0")
    return start_python("-c", STUDY, study, ROOT / "configs", cluster.address, folders, delay)


@pytest.mark.parametrize("folders", ["shared", "apart", "mixed"])
def test_a_lost_node_costs_no_run_and_doubles_none(folders, cluster, tmp_path, undisturbed):
    (tmp_path / "sitecustomize.py").write_text(BLIND)
    blind = {"PYTHONPATH": str(tmp_path)} if folders == "mixed" else {}
    cluster.add_node(f"--address={cluster.address}", **blind)
    study = write_study(tmp_path, {"seed": SEEDS}, TOY)
    with start_on(cluster, study, folders) as process:
        wait_until(lambda: has_a_run_in_the_middle(cluster.nodes[1], tmp_path), process)
        cluster.kill_node(1)
        cluster.add_node(f"--address={cluster.address}")
        out = finish(process)

    runs = runs_in(tmp_path / "runs")
    assert len(runs) == len(SEEDS)
    assert_same_runs(tmp_path / "runs", undisturbed)
    assert sorted(starts(run) for run in runs.values()) == [1] * 7 + [2]
    (twice,) = [run for run in runs.values() if starts(run) == 2]
    assert "resuming" in twice.output.read_text()
    assert out.count("\nfinished  seed-") == len(SEEDS)


def has_a_run_in_the_middle(node: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether a run on a node is in the middle, and its folder at home says so too."""
    at_home = {run.folder.name for run in in_the_middle(folder)}
    runs = runs_of(descendants(node.pid)).values()
    seeds = [yaml.safe_load(run.config.read_text())["seed"] for run in runs if run.config.exists()]
    return any(f"seed-{seed}" in at_home for seed in seeds)


@pytest.mark.parametrize("folders", ["shared", "apart"])
def test_ctrl_c_saves_every_run_and_the_same_command_goes_on(
    folders, cluster, tmp_path, undisturbed
):
    cluster.add_node(f"--address={cluster.address}")
    study = write_study(tmp_path, {"seed": SEEDS[:3]}, TOY)
    with start_on(cluster, study, folders, delay=1.2) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        process.send_signal(signal.SIGINT)
        finish(process, code=130)
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()

    with start_on(cluster, study, folders) as process:
        finish(process)
    assert len(runs_in(tmp_path / "runs")) == 3
    assert_same_runs(tmp_path / "runs", undisturbed)


def test_a_run_that_no_machine_is_large_enough_for_is_one_sentence(cluster, tmp_path):
    for flags, sentence in (
        (("--num-threads", "3"), "No machine of the cluster has 3 cores and 0 GPUs for a run; "),
        (("--gpus-per-run", "1"), "No machine of the cluster has 1 cores and 1 GPUs for a run; "),
        (("--gpus-per-run", "1.5"), "--gpus-per-run above 1 must be a whole number, not 1.5."),
    ):
        study = write_study(tmp_path, {"seed": [0]}, TOY)
        with start(study, "--backend", "ray", "--address", cluster.address, *flags) as process:
            _, error = process.communicate(timeout=120)
        assert process.returncode == 2, error
        assert error.startswith(sentence)
        assert not runs_in(tmp_path)
