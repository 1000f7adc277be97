"""Checkpoints in the format of Stable-Baselines3, and the log of a resumed training."""

import csv
import os
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from games import WhereIsTheSquare
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import HParam, Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv import policy_kwargs
from rl_coordconv.experiments.atari.checkpoint import (
    load_checkpoint,
    make_logger,
    save_checkpoint,
    tensorboard_writer,
)
from rl_coordconv.runs.folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "checkpoints").mkdir()
    return Run(tmp_path)


@pytest.fixture(scope="module")
def trained() -> A2C:
    kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"features_dim": 8})
    env = make_vec_env(WhereIsTheSquare, n_envs=2, seed=0)
    return A2C("CnnPolicy", env, policy_kwargs=kwargs, seed=0).learn(20)


@pytest.fixture
def model(trained) -> A2C:
    trained.num_timesteps = 20
    return trained


def load(run: Run, model: A2C):
    return load_checkpoint(run, A2C, model.get_env(), "cpu")


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002 - global


def test_a_checkpoint_restores_the_whole_state(run, model):
    save_checkpoint(run, model, {"best_return": 3.5})
    expected = draws()
    loaded, state = load(run, model)
    assert draws() == expected
    assert state == {"best_return": 3.5}
    assert loaded.num_timesteps == model.num_timesteps == 20
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, loaded.policy.state_dict()[name]), name
    before, after = (m.policy.optimizer.state_dict() for m in (model, loaded))
    assert before["param_groups"] == after["param_groups"]
    assert before["state"].keys() == after["state"].keys()
    for index, slots in before["state"].items():
        assert all(
            torch.equal(torch.as_tensor(slots[k]), torch.as_tensor(after["state"][index][k]))
            for k in slots
        )


def test_a_checkpoint_is_an_ordinary_stable_baselines3_file(run, model):
    path = save_checkpoint(run, model, {})
    images = np.zeros((3, 1, 36, 36), np.uint8)
    expected = model.predict(images, deterministic=True)[0]
    assert np.array_equal(A2C.load(path).predict(images, deterministic=True)[0], expected)


def test_the_newest_two_are_kept(run, model):
    for step in (100, 200, 300):
        model.num_timesteps = step
        save_checkpoint(run, model, {})
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == ["step-0000000200.zip", "step-0000000300.zip"]


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    elif how == "another file":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "not a model")


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "another file"])
def test_a_damaged_checkpoint_is_reported_and_the_previous_one_used(run, model, how, capsys):
    save_checkpoint(run, model, {"best_return": 1.0})
    model.num_timesteps = 40
    newest = save_checkpoint(run, model, {"best_return": 2.0})
    damage(newest, how)
    loaded, state = load(run, model)
    assert (loaded.num_timesteps, state["best_return"]) == (20, 1.0)
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_without_a_checkpoint_returns_none(run, model):
    assert load(run, model) is None


def test_a_failed_save_keeps_the_last_checkpoint(run, model, monkeypatch):
    save_checkpoint(run, model, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    model.num_timesteps = 40
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(run, model, {})
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-0000000020.zip"]


def rows(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return list(csv.DictReader(file))


class TestLog:
    def test_resumes_without_the_lost_steps(self, run):
        for start, steps in ((0, [10, 20, 30]), (20, [25, 35])):
            logger = make_logger(run, start)
            for step in steps:
                logger.record("train/loss", step + start / 1000)
                logger.record("time/total_timesteps", step, exclude="tensorboard")
                if start:
                    logger.record("eval/mean_reward", 1.0)
                logger.dump(step)
                tensorboard_writer(logger).add_scalar("raw/episode_return", step, step)
            logger.close()
        events = EventAccumulator(str(run.folder))
        events.Reload()
        assert [event.step for event in events.Scalars("train/loss")] == [10, 20, 25, 35]
        assert [event.step for event in events.Scalars("raw/episode_return")] == [10, 20, 25, 35]
        table = rows(run)
        assert list(table[0])[:2] == ["step", "seconds"]
        assert [int(row["step"]) for row in table] == [10, 20, 25, 35]
        assert [float(row["time/total_timesteps"]) for row in table] == [10, 20, 25, 35]
        assert [float(row["train/loss"]) for row in table] == [10, 20, 25.02, 35.02]
        assert [row["eval/mean_reward"] for row in table] == ["", "", "1.0", "1.0"]

    def test_of_a_run_that_restarts_is_empty(self, run):
        for loss in (1.0, 2.0):  # killed before its first checkpoint
            logger = make_logger(run, 0)
            logger.record("train/loss", loss)
            logger.dump(10)
            logger.close()
        events = EventAccumulator(str(run.folder))
        events.Reload()
        assert [event.value for event in events.Scalars("train/loss")] == [2]
        assert [row["train/loss"] for row in rows(run)] == ["2.0"]

    def test_counts_seconds_over_all_starts(self, run):
        run.progress.write_text("step,seconds,train/loss\n10,100.5,1\n20,200.5,1\n30,300.5,1\n")
        logger = make_logger(run, 20)
        logger.record("train/loss", 1.0)
        logger.dump(25)
        logger.dump(35)
        seconds = [float(row["seconds"]) for row in rows(run)]
        assert seconds[:2] == [100.5, 200.5]
        assert 200.5 <= seconds[2] <= seconds[3] < 210

    def test_drops_a_torn_last_row(self, run):
        run.progress.write_text("step,seconds,train/loss\n10,1.0,1\n20,2.0,1\n20,2.")
        logger = make_logger(run, 20)
        logger.record("train/loss", 2.0)
        logger.dump(30)
        assert [row["step"] for row in rows(run)] == ["10", "20", "30"]
        assert float(rows(run)[-1]["seconds"]) >= 2

    def test_of_version_0_1_gets_a_step(self, run):
        run.progress.write_text("train/loss,time/total_timesteps\n1.5,10\n2.5,20.0\n3.5,30\n")
        logger = make_logger(run, 20)
        logger.record("train/loss", 9.0)
        logger.dump(25)
        assert [float(row["step"]) for row in rows(run)] == [10, 20, 25]
        assert [row["train/loss"] for row in rows(run)] == ["1.5", "2.5", "9.0"]

    def test_has_numbers_that_are_not_excluded(self, run):
        logger = make_logger(run, 0)
        numbers = {"a": 1, "b": 0.5, "c": np.float32(0.5), "d": np.int64(3), "e": float("nan")}
        for name, value in numbers.items():
            logger.record(name, value)
        logger.record_mean("mean", 1.0)
        logger.record_mean("mean", 2.0)
        logger.record("text", "a, b\nc")
        logger.record("nothing", None)
        logger.record("image", Image(np.zeros((2, 2, 3), np.uint8), "HWC"))
        logger.record("hparams", HParam({"seed": 0}, {"mean": 0.0}), exclude="csv")
        logger.record("shown", 1.0, exclude=("stdout", "csv"))
        logger.record("hidden", 2.0, exclude="tensorboard")
        logger.dump(7)
        logger.close()
        (row,) = rows(run)
        del row["seconds"]
        numbers = {"a": "1", "b": "0.5", "c": "0.5", "d": "3", "e": "nan"}
        assert row == {"step": "7", **numbers, "hidden": "2.0", "mean": "1.5"}
        events = EventAccumulator(str(run.folder))
        events.Reload()
        shown = {"a", "b", "c", "d", "e", "mean", "shown"}
        assert set(events.Tags()["scalars"]) >= shown
        assert "hidden" not in events.Tags()["scalars"]
        assert events.Tags()["images"] == ["image"]
