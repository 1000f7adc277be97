"""Training through the script's main function, on RLlib."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import ray
import torch
import yaml
from apex_runs import arguments, column, train, wait_until
from ray._private import services
from ray_nodes import workers
from stable_baselines3 import DQN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.compare.find import find_runs
from rl_coordconv.experiments import apex
from rl_coordconv.experiments.apex import cluster as cluster_module
from rl_coordconv.experiments.apex import memory
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.checkpoint import save_state
from rl_coordconv.runs.folder import Run
from scripts import GAME_RUN_FILES, SCRIPTS, mistake, run_script

# Of RLlib and Ray.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


class TestRun:
    @pytest.fixture(scope="class")
    def run(self, cluster, tmp_path_factory) -> Run:
        folder = tmp_path_factory.mktemp("apex")
        settings = {"num_env_runners": 1, "eval_freq": 24, "save_freq": 16, "env": "Klax"}
        return train(folder, total_timesteps=32, **settings)

    def test_has_the_files_of_a_run_folder(self, run):
        names = {path.name for path in run.folder.iterdir()}
        assert names >= GAME_RUN_FILES
        assert run.folder.parts[-4:-2] == ("apex", "Klax")
        assert [path.stem for path in run.saved] == ["step-0000000032", "step-0000000024"]

    def test_stores_every_setting(self, run):
        stored = yaml.safe_load(run.config.read_text())
        assert stored.keys() == ApexConfig.model_fields.keys()
        assert stored["replay_alpha"] == 0.6

    def test_logs_each_step_once_and_learns_after_the_first_steps(self, run):
        assert column(run.progress, "step") == [8, 16, 24, 32]
        assert column(run.progress, "updates") == [0, 1, 2, 3]
        assert column(run.evaluations, "step") == [24, 32]
        scores = column(run.evaluations, "episode_return")
        assert column(run.progress, "eval/mean_reward") == scores

    def test_shows_in_tensorboard_what_a2c_shows(self, run):
        events = EventAccumulator(str(run.folder))
        events.Reload()
        assert set(events.Tags()["scalars"]) >= {
            "time/steps_per_second",
            "train/learning_rate",
            "train/loss",
            "eval/mean_reward",
            "eval/mean_ep_length",
            "coord/weight_share/cnn.0",
        }
        assert events.Tags()["images"] == ["coord/positional_map/cnn.0"]

    def test_has_an_agent_that_stable_baselines3_loads(self, run):
        agent = DQN.load(run.final_model, device="cpu")
        assert agent.num_timesteps == 32
        weights = torch.load(run.saved[0], weights_only=True)["learner"]["rl_module"]
        trained = weights["default_policy"]["network.head.value.0.weight"]
        assert torch.equal(agent.policy.q_net.q_net.value[0].weight, trained)

    def test_is_evaluated_like_the_others(self, run):
        assert run_script("evaluate", run.folder, "--episodes", 1, "--device", "cpu") == 0
        assert column(run.evaluations, "step") == [24, 32, 32]

    def test_is_extended_with_an_empty_buffer(self, run, cluster, capsys):
        folder = run.folder.parents[3]
        settings = {"num_env_runners": 1, "eval_freq": 0, "save_freq": 16, "env": "Klax"}
        train(folder, total_timesteps=64, **settings)
        out = capsys.readouterr().out
        assert "Extending the run from 32 to 64 steps." in out
        assert "from step 32, with an empty buffer" in out
        assert column(run.progress, "step") == [8, 16, 24, 32, 40, 48, 56, 64]
        assert column(run.progress, "updates") == [0, 1, 2, 3, 3, 4, 5, 6]
        train(folder, total_timesteps=64, **settings)
        assert "is already finished" in capsys.readouterr().out
        weights = torch.load(run.saved[0], weights_only=True)["learner"]["optimizer"]
        (optimizer,) = weights.values()
        steps = {int(state["step"]) for state in optimizer["state"]["state"].values()}
        assert steps == {6}  # Adam's state was restored


def test_games_are_logged_with_their_raw_scores(cluster, tmp_path):
    settings = {"env": "Klax", "n_envs": 4, "rollout_steps": 50, "learning_starts": 900}
    run = train(tmp_path, total_timesteps=1000, **settings)
    frames = column(run.episodes, "length_frames")
    assert frames
    assert all(count > 200 for count in frames)
    steps = column(run.episodes, "step")
    assert steps == sorted(steps)
    assert column(run.progress, "rollout/ep_rew_mean")
    (found,) = find_runs([tmp_path]).runs  # as compare.py does
    assert (found.algorithm, found.game) == ("apex", "Klax")
    assert list(found.returns) == column(run.episodes, "episode_return")


@pytest.mark.slow
def test_a_lost_learner_ends_the_training(rllib, temporary_folder, tmp_path):
    settings = {"total_timesteps": 100_000, "save_freq": 8, "num_learners": 1}
    with start(tmp_path, **settings) as process:
        run = wait_for_row(tmp_path, process)
        (learner,) = workers(process.pid, "_WrappedExecutable")
        os.kill(learner, signal.SIGKILL)
        _, error = process.communicate(timeout=240)
    assert process.returncode == 2, error
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith("A learner was lost (")
    assert run.saved
    assert ray_folders() == []


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


def start(folder: Path, **settings: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPTS / "train_apex.py"), *arguments(folder, **settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_row(folder: Path, process: subprocess.Popen[str]) -> Run:
    """Return the run once it has learned."""

    def found() -> list[Run]:
        runs = [Run(file.parent) for file in folder.rglob("config.yaml")]
        return [run for run in runs if column(run.progress, "updates")[-1:] > [0]]

    run: Run = wait_until(found, process)[0]
    return run


def ray_folders() -> list[Path]:
    """The folders of Ray's files, one per running training."""
    parent = Path(tempfile.gettempdir()) / f"rl-coordconv-ray-{os.getuid()}"
    return [path for path in parent.iterdir() if path.is_dir()] if parent.exists() else []


@pytest.fixture
def temporary_folder(short_folder, monkeypatch):
    """A temporary folder of this test."""
    monkeypatch.setenv("TMPDIR", str(short_folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return short_folder


@pytest.mark.slow
def test_a_run_survives_the_kill_of_its_runner_and_of_itself(rllib, temporary_folder, tmp_path):
    settings = {"total_timesteps": 100_000, "save_freq": 8, "num_env_runners": 1}
    with start(tmp_path, **settings) as process:
        run = wait_for_row(tmp_path, process)
        (runner,) = workers(process.pid, "ApexRunner")
        os.kill(runner, signal.SIGKILL)
        wait_until(lambda: workers(process.pid, "ApexRunner").keys() - {runner}, process)
        before = column(run.progress, "step")[-1]
        wait_until(lambda: column(run.progress, "step")[-1] > before + 80, process)
        assert len(ray_folders()) == 1
        process.send_signal(signal.SIGKILL)
    steps, updates = column(run.progress, "step"), column(run.progress, "updates")
    assert steps == list(range(8, 8 * len(steps) + 1, 8))
    # One update each 8 steps; one more in the round in which the runner was lost.
    assert updates[-1] - updates[0] in (len(updates) - 1, len(updates))
    saved = int(run.saved[0].stem[5:])
    assert len(ray_folders()) == 1  # of the killed run
    with start(tmp_path, **settings) as process:
        while f"{saved:,}, with an empty buffer" not in (line := process.stdout.readline()):
            assert line or process.poll() is None, process.communicate()
        assert len(ray_folders()) == 1  # of this run
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Ctrl-C received: finishing this update, then saving in" in out
    assert "Run the same command again to resume" in out
    assert "Traceback" not in err
    assert ray_folders() == []
    assert not list(temporary_folder.rglob("ray_current_cluster"))
    steps = column(run.progress, "step")
    assert steps == sorted(set(steps))


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
