"""Studies on a real Ray cluster: two nodes on this machine, of which one is killed."""

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
from study.runs import (
    ROOT,
    SEEDS,
    TOY,
    assert_same_runs,
    children,
    finish,
    in_the_middle,
    runs_in,
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

    def add_node(self, *flags: str) -> None:
        command = [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.nodes.append(subprocess.Popen([*command, *flags], **quiet))

    def kill_node(self, number: int) -> None:
        """As a machine is lost: without a word to anyone."""
        node = self.nodes.pop(number)
        for pid in [node.pid, *children(node.pid)]:
            os.kill(pid, signal.SIGKILL)
        node.wait()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", os.urandom(16).hex())
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # Ray's runs would wait for every other process
    cluster = Cluster(f"127.0.0.1:{port}", [])
    cluster.add_node("--head", f"--port={port}", "--include-dashboard=false")
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    cluster.add_node(f"--address={cluster.address}")
    yield cluster
    while cluster.nodes:
        cluster.kill_node(-1)


# A study whose other machines do not see the folder of its runs, as on a real cluster they may not.
APART = """
import sys
from pathlib import Path
from rich.console import Console
from rl_coordconv.study.cluster import RayCluster
from rl_coordconv.study.plan import read_study
from rl_coordconv.study.supervise import supervise
from rl_coordconv.study.table import LiveTable

study, configs, address = sys.argv[1:]
jobs = read_study(Path(study), Path(configs))
log_dir = Path(jobs[0].settings["log_dir"])
log_dir.mkdir()
cluster = RayCluster(address, log_dir, shared=False, push_seconds=0.2)
sys.exit(supervise(jobs, cluster, 2, LiveTable(jobs, Console())))
"""


@pytest.mark.parametrize("shared", [True, False])
def test_a_lost_node_costs_no_run_and_doubles_none(shared, cluster, tmp_path, undisturbed):
    study = write_study(tmp_path, {"seed": SEEDS}, TOY)
    if shared:
        process = start(study, "--backend", "ray", "--address", cluster.address)
    else:
        process = start_python("-c", APART, study, ROOT / "configs", cluster.address)
    with process:
        wait_until(lambda: len(in_the_middle(tmp_path)) == 2, process)
        cluster.kill_node(1)
        out = finish(process)

    runs = runs_in(tmp_path / "runs")
    assert len(runs) == len(SEEDS)
    assert_same_runs(tmp_path / "runs", undisturbed)
    assert sorted(starts(run) for run in runs.values()) == [1] * 7 + [2]
    (twice,) = [run for run in runs.values() if starts(run) == 2]
    assert "resuming" in twice.output.read_text()
    assert out.count("\nfinished  seed-") == len(SEEDS)
