import itertools
import os
import random
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from games import WhereIsTheSquare
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv import policy_kwargs
from rl_coordconv.runs.checkpoint import (
    StopSignals,
    environment_seed,
    load_checkpoint,
    load_state,
    make_logger,
    rng_untouched,
    save_checkpoint,
    save_state,
    tensorboard_writer,
)
from rl_coordconv.runs.folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "checkpoints").mkdir()
    return Run(tmp_path)


@pytest.fixture
def model() -> A2C:
    kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"features_dim": 8})
    env = make_vec_env(WhereIsTheSquare, n_envs=2, seed=0)
    return A2C("CnnPolicy", env, policy_kwargs=kwargs, seed=0).learn(20)


def load(run: Run, model: A2C):
    return load_checkpoint(run, A2C, model.get_env(), "cpu")


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002 - global


def test_a_checkpoint_brings_everything_back(run, model):
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
    elif how == "foreign":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "not a model")


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "foreign"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_serves(run, model, how, capsys):
    save_checkpoint(run, model, {"best_return": 1.0})
    model.num_timesteps = 40
    newest = save_checkpoint(run, model, {"best_return": 2.0})
    damage(newest, how)
    loaded, state = load(run, model)
    assert (loaded.num_timesteps, state["best_return"]) == (20, 1.0)
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_no_checkpoint_is_none(run, model):
    assert load(run, model) is None


def test_a_failed_save_leaves_the_last_checkpoint(run, model, monkeypatch):
    save_checkpoint(run, model, {})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    model.num_timesteps = 40
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(run, model, {})
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-0000000020.zip"]


def test_random_numbers_drawn_aside_are_not_missed():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002 - global
    expected = [draws(), draws()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002 - global
    first = draws()
    with rng_untouched():
        draws(), draws()
    assert [first, draws()] == expected


def test_environment_seeds_of_runs_and_streams_do_not_overlap():
    seeds = {environment_seed(s, step) for s in range(5) for step in (0, 1, 100_000)}
    seeds |= {environment_seed(s, 0, 1) for s in range(5)}
    assert len(seeds) == 20
    ordered = sorted(seeds)
    assert min(b - a for a, b in itertools.pairwise(ordered)) > 1000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_logs_go_on_without_the_lost_steps(run):
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
    header, *rows = (line.split(",") for line in run.progress.read_text().splitlines())
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [float(row["time/total_timesteps"]) for row in table] == [10, 20, 25, 35]
    assert [float(row["train/loss"]) for row in table] == [10, 20, 25.02, 35.02]
    assert [row["eval/mean_reward"] for row in table] == ["", "", "1.0", "1.0"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received is number
        os.kill(os.getpid(), signal.SIGTERM)  # by another one who wants the same
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class TestStates:
    def test_the_newest_comes_back_and_two_are_kept(self, run):
        for step in (1, 5, 10):
            save_state(run, step, {"step": step, "weight": torch.full((2,), float(step))})
        state = load_state(run, torch.device("cpu"))
        assert state["step"] == 10
        assert state["weight"].tolist() == [10, 10]
        assert len(list(run.checkpoints.iterdir())) == 2

    @pytest.mark.parametrize("damage", [b"", b"not a checkpoint"])
    def test_a_damaged_one_is_named_and_passed_over(self, run, damage, capsys):
        save_state(run, 1, {"step": 1})
        save_state(run, 2, {"step": 2})
        newest = max(run.checkpoints.iterdir())
        newest.write_bytes(damage)
        assert load_state(run, torch.device("cpu"))["step"] == 1
        assert f"{newest} is damaged" in capsys.readouterr().err

    def test_there_may_be_none(self, run):
        assert load_state(run, torch.device("cpu")) is None
