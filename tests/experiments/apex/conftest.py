"""RLlib, and a Ray cluster that the tests share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_coordconv.runs.cluster import ray_folder

RAY = Path(sys.executable).parent / "ray"


@pytest.fixture(scope="session")
def rllib() -> None:
    """Skip a test if RLlib or a package that it needs is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RLlib imports modules that it deprecates
        pytest.importorskip("ray.rllib.algorithms.dqn", exc_type=ImportError)


@pytest.fixture(scope="session")
def cluster(rllib: None) -> Iterator[str]:
    """Start a Ray cluster, which takes seconds, once for all tests; return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = f"--head --block --port={port} --num-cpus=2 --include-dashboard=false".split()
    flags.append("--object-store-memory=100000000")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(16).hex()}
    patch = pytest.MonkeyPatch()
    for name, value in {**token, "RAY_USAGE_STATS_ENABLED": "0"}.items():
        patch.setenv(name, value)
    with ray_folder() as folder:
        command = [RAY, "start", *flags, f"--temp-dir={folder}"]
        with subprocess.Popen(command, **quiet) as node:
            for _ in range(1200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
            node.terminate()
    patch.undo()
