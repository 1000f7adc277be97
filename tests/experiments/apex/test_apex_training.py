"""Training through the script's main function, on RLlib."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import ray
import torch
import yaml
from apex_runs import arguments, train
from stable_baselines3 import DQN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.compare.find import find_runs
from rl_coordconv.experiments import apex
from rl_coordconv.experiments.apex import memory
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from scripts import GAME_RUN_FILES, SCRIPTS, mistake, run_script

# Of RLlib and Ray.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in rows_until(path, "step", float("inf")) if row[name]]


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


def test_no_cluster_at_the_address(rllib, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # other tests share a connection
    error = mistake(capsys, "train_apex", *arguments(tmp_path, address="127.0.0.1:1"))
    assert error.startswith("Cannot connect to a Ray cluster at 127.0.0.1:1: ")


def start(folder: Path, **settings: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPTS / "train_apex.py"), *arguments(folder, **settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_row(folder: Path, process: subprocess.Popen[str]) -> Run:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for file in folder.rglob("config.yaml"):
            if column((run := Run(file.parent)).progress, "updates")[-1:] > [0]:
                return run
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the training has not begun")


def ray_folders() -> list[Path]:
    """The folders of Ray's files, one per running training."""
    parent = Path(tempfile.gettempdir()) / f"rl-coordconv-ray-{os.getuid()}"
    return [path for path in parent.iterdir() if path.is_dir()] if parent.exists() else []


@pytest.fixture
def temporary_folder(monkeypatch):
    """A temporary folder of this test, with a short path, for the sockets in it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)
        monkeypatch.undo()


def test_ctrl_c_saves_and_a_killed_run_leaves_no_files(rllib, temporary_folder, tmp_path):
    settings = {"total_timesteps": 100_000, "save_freq": 8}
    with start(tmp_path, **settings) as process:
        run = wait_for_row(tmp_path, process)
        assert len(ray_folders()) == 1
        process.send_signal(signal.SIGKILL)
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
    assert not (Path(tempfile.gettempdir()) / "ray").exists()
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
