"""Training on a real Ray cluster with a token: two nodes on this machine, of one core each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
from apex_runs import TINY, arguments, column, wait_until
from ray_nodes import Nodes, ray_nodes, workers

from rl_coordconv.runs.folder import Run
from scripts import SCRIPTS

pytestmark = pytest.mark.slow

# Trains, and waits after evaluation number n for the file go-n.
GATED = """
import itertools, json, sys, time
from pathlib import Path
from rl_coordconv.experiments import make_config, train

folder, settings, numbers = Path(sys.argv[1]), json.loads(sys.argv[2]), itertools.count()

def wait(step, metrics):
    number = next(numbers)
    (folder / f"at-{number}").touch()
    while not (folder / f"go-{number}").exists():
        time.sleep(0.05)

train(make_config("apex", log_dir=folder / "runs", **settings), callbacks=[wait])
"""


@pytest.fixture(scope="module")
def nodes(rllib: None) -> Iterator[Nodes]:
    """A cluster of one node."""
    with ray_nodes() as nodes:
        yield nodes


def start(nodes: Nodes, *words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**os.environ, **nodes.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_a_runner(node: subprocess.Popen[bytes]) -> bool:
    """Return whether an environment runner waits on a node."""
    return list(workers(node.pid, "ApexRunner").values()) == [""]


def test_a_lost_node_costs_its_runner_until_it_returns(nodes, tmp_path):
    nodes.add()
    settings = {"address": nodes.address, "num_env_runners": 2, "env": "Klax", "eval_freq": 240}
    settings = {**TINY, **settings, "total_timesteps": 720}
    with start(nodes, "-c", GATED, tmp_path, json.dumps(settings)) as process:
        wait_until((tmp_path / "at-0").exists, process)
        assert all(map(has_a_runner, nodes.running))
        nodes.kill(1)
        (tmp_path / "go-0").touch()
        wait_until((tmp_path / "at-1").exists, process)
        nodes.add()
        wait_until(lambda: has_a_runner(nodes.running[1]), process)
        (tmp_path / "go-1").touch()
        (tmp_path / "go-2").touch()
        _, error = process.communicate(timeout=240)
    assert process.returncode == 0, error

    (config,) = tmp_path.rglob("config.yaml")
    run = Run(config.parent)
    assert run.is_finished
    steps = column(run.progress, "step")
    rounds = [(int(last), int(after - last)) for last, after in pairwise([0, *steps])]
    evaluated = column(run.evaluations, "step")
    assert len(evaluated) == 3
    lost, returned = evaluated[:2]
    # A round is of 4 steps of 4 games, a little more where an episode ends.
    assert all(16 <= size < 20 for last, size in rounds if last < lost)
    assert all(8 <= size < 12 for last, size in rounds if lost <= last < returned)
    assert 16 <= rounds[-1][1] < 20
    updates = column(run.progress, "updates")
    assert updates == sorted(updates)
    ends = column(run.episodes, "step")
    assert ends == sorted(ends)
    assert set(ends) <= set(steps)


@pytest.mark.parametrize(
    "environment", [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN": 32 * "0"}]
)
def test_a_cluster_with_another_token(environment, nodes, tmp_path):
    words = arguments(tmp_path, address=nodes.address)
    with start(nodes, SCRIPTS / "train_apex.py", *words, **environment) as process:
        _, error = process.communicate(timeout=240)
    assert process.returncode == 2, error
    assert "Traceback" not in error
    sentence = error.splitlines()[-1]  # after Ray's own warnings
    assert sentence.startswith(f"Cannot connect to a Ray cluster at {nodes.address}: ")
    assert sentence.endswith("set RAY_AUTH_MODE=token and the same token here.")


def test_a_cluster_with_another_version_of_ray(nodes, tmp_path):
    code = (
        "import sys, ray; ray.__version__ = '2.0.0'\n"
        "from rl_coordconv.commands import run; run('train-apex', sys.argv[1:])"
    )
    with start(nodes, "-c", code, *arguments(tmp_path, address=nodes.address)) as process:
        _, error = process.communicate(timeout=240)
    assert process.returncode == 2, error
    assert "Traceback" not in error
    sentence = error.splitlines()[-1]
    assert sentence.startswith("Version mismatch: The cluster was started with: Ray: ")
