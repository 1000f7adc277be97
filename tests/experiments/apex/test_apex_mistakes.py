"""Mistakes, full disks and old files, which are reported in one sentence."""

import resource
import socket
import sys
import threading

import pytest
import ray
import torch
from apex_runs import TINY, arguments, config, train
from ray._private import services

from rl_coordconv.experiments import apex
from rl_coordconv.experiments.apex import cluster as cluster_module
from rl_coordconv.experiments.apex import memory
from rl_coordconv.runs.checkpoint import save_state
from rl_coordconv.runs.folder import Run
from scripts import mistake

# Of RLlib and Ray.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def test_a_full_disk_keeps_the_last_checkpoint(cluster, tmp_path, capsys):
    run = train(tmp_path, total_timesteps=8)
    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))  # a checkpoint has more
    try:
        error = mistake(capsys, "train_apex", *arguments(tmp_path, total_timesteps=16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.startswith(f"Could not write to {run.folder}: File too large. ")
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == before


@pytest.mark.parametrize("part", ["updates", "weights"])
def test_a_checkpoint_of_another_version(part, cluster, tmp_path, capsys):
    run = train(tmp_path, total_timesteps=8)
    capsys.readouterr()
    run = Run(run.folder, config(**{"log_dir": tmp_path, **TINY, "total_timesteps": 8}))
    state = torch.load(run.saved[0], weights_only=True)
    if part == "updates":
        del state["updates"]
    else:
        del state["learner"]["rl_module"]["default_policy"]["network.head.value.0.weight"]
    save_state(run, 8, state)
    before = run.progress.read_bytes()
    error = mistake(capsys, "train_apex", *arguments(tmp_path, total_timesteps=16))
    assert error == (
        f"The checkpoint {run.saved[0]} is of another version of rl_coordconv or RLlib; resume"
        " with that version, or start over with --overwrite.\n"
    )
    assert run.progress.read_bytes() == before


class TestNoCluster:
    @pytest.fixture(autouse=True)
    def _not_connected(self, rllib, monkeypatch):
        monkeypatch.setattr(ray, "is_initialized", lambda: False)  # tests share a connection

    def test_at_the_address(self, tmp_path, capsys):
        error = mistake(capsys, "train_apex", *arguments(tmp_path, address="127.0.0.1:1"))
        assert error.startswith("Cannot connect to a Ray cluster at 127.0.0.1:1: ")
        assert not list(tmp_path.iterdir())

    def test_at_the_address_that_a_killed_one_left(
        self, short_folder, tmp_path, monkeypatch, capsys
    ):
        (short_folder / "ray").mkdir()
        (short_folder / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        monkeypatch.setenv("RAY_TMPDIR", str(short_folder))
        monkeypatch.setattr(services, "find_gcs_addresses", set)  # live ones on this machine
        error = mistake(capsys, "train_apex", *arguments(tmp_path, address="auto"))
        assert error.startswith("Cannot connect to a Ray cluster at auto: Connection refused.")

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
    def test_another_program_at_the_address(self, answer, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(cluster_module, "_ANSWER_SECONDS", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                client, _ = server.accept()
                client.sendall(answer)
                clients.append(client)  # stays open

            clients: list[socket.socket] = []
            thread = threading.Thread(target=serve)
            thread.start()
            address = f"127.0.0.1:{server.getsockname()[1]}"
            error = mistake(capsys, "train_apex", *arguments(tmp_path, address=address))
            thread.join()
            clients[0].close()
        assert error.startswith(
            f"Cannot connect to a Ray cluster at {address}: another program uses this port. "
        )


class TestMistakes:
    def test_without_rllib(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "ray.rllib.algorithms.dqn", None)
        monkeypatch.delitem(sys.modules, "rl_coordconv.experiments.apex.algorithm", raising=False)
        monkeypatch.delattr(apex, "algorithm", raising=False)
        error = mistake(capsys, "train_apex", *arguments(tmp_path))
        assert error.startswith("Ape-X needs RLlib")
        assert error.endswith("pip install 'rl_coordconv[rllib]'.\n")
        assert not list(tmp_path.iterdir())

    def test_a_replay_buffer_larger_than_the_memory(self, rllib, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(memory, "memory_bytes", lambda: 2**30)
        error = mistake(capsys, "train_apex", *arguments(tmp_path, replay_size=100_000))
        assert error == (
            "A replay buffer of 100,000 steps takes 2.6 GiB, but this machine has 1.0 GiB;"
            " lower --replay-size.\n"
        )

    def test_more_runners_than_cores(self, cluster, tmp_path, capsys):
        words = arguments(tmp_path, num_env_runners=cluster + 1)
        assert mistake(capsys, "train_apex", *words) == (
            f"The {cluster + 1} environment runners and 0 learners need a core each, but there are"
            f" {cluster};"
            " lower --num-env-runners.\n"
        )
        assert not list(tmp_path.iterdir())

    def test_rounds_shorter_than_the_returns(self, tmp_path, capsys):
        error = mistake(capsys, "train_apex", *arguments(tmp_path, rollout_steps=2))
        assert error == "rollout_steps 2 must be at least n_step 3.\n"
