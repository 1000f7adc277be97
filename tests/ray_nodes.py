"""A Ray cluster of several nodes on this machine, whose files are in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

RAY = Path(sys.executable).parent / "ray"


@dataclass
class Nodes:
    """Nodes on this machine, of one core each; the first is the head.

    Attributes:
        address: The cluster's address.
        environment: What a program needs to connect.
        folder: The folder of all files.
        running: The processes, in the order of their starts.
    """

    address: str
    environment: dict[str, str]
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, *flags: str, **environment: str) -> None:
        """Start a node, and wait until it has joined the cluster."""
        output = self.folder / f"node-{time.monotonic_ns()}.txt"
        command = [RAY, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
        where = flags if "--head" in flags else (f"--address={self.address}", *flags)
        env = {**os.environ, **self.environment, **environment}
        with output.open("w") as file:
            node = subprocess.Popen([*command, *where], env=env, stdout=file, stderr=file)
        self.running.append(node)
        while "Ray runtime started" not in output.read_text():
            assert node.poll() is None, output.read_text()
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """Kill a node with all its processes, as if the machine was lost."""
        node = self.running.pop(number)
        for pid in [node.pid, *descendants(node.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        node.wait()


def children(pid: int) -> list[int]:
    """Return the live processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            parent = path.read_text().rpartition(")")[2].split()[1]
            found += [int(path.parent.name)] if int(parent) == pid else []
    return found


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on."""
    own = children(pid)
    return [*own, *(below for child in own for below in descendants(child))]


def workers(pid: int, name: str) -> dict[int, str]:
    """Return Ray's processes of an actor's class below a process, with what they are doing."""
    found = {}
    for child in descendants(pid):
        with contextlib.suppress(OSError):  # it ended meanwhile
            title = Path(f"/proc/{child}/cmdline").read_bytes().strip(b"\0").decode()
            if title.startswith(f"ray::{name}"):
                found[child] = title.removeprefix(f"ray::{name}")
    return found


@contextlib.contextmanager
def ray_nodes() -> Iterator[Nodes]:
    """Start the head of a cluster that needs a token, and kill all nodes at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # A short path, for the sockets in it.
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t", ignore_cleanup_errors=True) as folder:
        environment = {
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": os.urandom(16).hex(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # or runs would wait for others
            # Let Ray notice within seconds that a machine is lost; one that is slow is not.
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "3",
        }
        nodes = Nodes(f"127.0.0.1:{port}", environment, Path(folder))
        try:
            nodes.add("--head", f"--port={port}", "--include-dashboard=false")
            yield nodes
        finally:
            while nodes.running:
                nodes.kill(-1)
