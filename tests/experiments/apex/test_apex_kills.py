"""Processes of a training on one machine that are killed or stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from apex_runs import arguments, column, wait_until
from ray_nodes import workers

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run
from scripts import SCRIPTS

pytestmark = pytest.mark.slow


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
def temporary_folder(tmp_path, short_folder, monkeypatch):
    """A folder of this test for temporary files and Ray's others; pytest's own are elsewhere."""
    monkeypatch.setenv("TMPDIR", str(short_folder))
    monkeypatch.setenv("HOME", str(short_folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", None)
    return short_folder


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
    assert not (temporary_folder / "ray_results").exists()
    steps = column(run.progress, "step")
    assert steps == sorted(set(steps))


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


@pytest.mark.parametrize("call", ["train", "weights", "state"])
def test_every_call_of_a_lost_learner_is_answered_in_one_sentence(rllib, call):
    from ray.exceptions import RayError

    from rl_coordconv.experiments.apex.algorithm import Apex

    dqn = MagicMock()
    group = dqn.learner_group
    for asked in (dqn.train, group.get_weights, group.get_state):
        asked.side_effect = RayError("The actor died.\nIts class: Learner")
    apex = Apex.__new__(Apex)
    apex._dqn = dqn
    with pytest.raises(UserError, match=r"^A learner was lost \(The actor died\)\. Run the same"):
        getattr(apex, call)()
