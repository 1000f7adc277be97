"""Evaluation of agents by `scripts/evaluate.py`, on the real game."""

import csv
import re
import shutil
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import yaml
from atari_commands import evaluate, rename_classes, save_elsewhere
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rl_coordconv.envs.play import Games
from rl_coordconv.experiments.atari import agents
from rl_coordconv.experiments.atari import play as play_module
from rl_coordconv.experiments.atari.agents import load_agent
from rl_coordconv.experiments.atari.evaluate import file_name
from rl_coordconv.experiments.atari.play import PlaySettings, play
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run, lock


def rows(run: Run) -> list[dict[str, str]]:
    with run.evaluations.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(short_run) -> Run:
    return short_run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class TestScores:
    def test_of_whole_games_are_shown_and_saved(self, run, capsys):
        before = rows(run)
        assert evaluate(run.folder, "--episodes", 3) == 0
        shown = capsys.readouterr().out
        new = rows(run)[len(before) :]
        assert rows(run)[: len(before)] == before
        scores = [float(row["episode_return"]) for row in new]
        assert [row["game"] for row in new] == ["0", "1", "2"]
        assert {row["step"] for row in new} == {"100"}
        assert {(row["protocol"], row["policy"], row["seed"]) for row in new} == {
            ("classic", "stochastic", "0")
        }
        assert all(score >= 60 for score in scores)  # three lives, and pills everywhere
        assert f"{np.mean(scores):,.1f}" in shown
        assert f"{max(scores):,.0f}" in shown
        for word in ("interval", "median", "frames"):
            assert word in shown

    def test_repeating_an_evaluation_adds_no_rows(self, run):
        evaluate(run.folder, "--episodes", 2, "--seed", 7)
        once = rows(run)
        evaluate(run.folder, "--episodes", 2, "--seed", 7)
        assert rows(run) == once

    def test_every_game_is_kept_with_its_checkpoint(self, run, tmp_path):
        """Regression: one game replaced five, and the best agent's replaced the final one's."""
        folder = tmp_path / "run"
        shutil.copytree(run.folder, folder)
        copy = Run(folder)
        copy.evaluations.unlink()
        shutil.copy(copy.final_model, copy.best_model)  # the same step, and the same agent
        evaluate(folder, "--episodes", 2)
        two = rows(copy)
        evaluate(folder, "--episodes", 1)
        evaluate(folder, "--episodes", 1)
        final = rows(copy)
        assert final[:2] == two
        assert [row["game"] for row in final] == ["0", "1", "2"]
        evaluate(folder, "--episodes", 1, "--checkpoint", "best")
        evaluate(folder / "checkpoints" / "step-0000000100.zip", "--episodes", 1)
        assert rows(copy)[:3] == final
        names = [row["checkpoint"] for row in rows(copy)]
        assert names == ["final"] * 3 + ["best", "step-0000000100"]
        assert {row["step"] for row in rows(copy)} == {"100"}

    def test_are_added_to_a_file_of_an_earlier_version(self, run, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(run.folder, folder)
        copy = Run(folder)
        copy.evaluations.write_text("step,game,episode_return,length_frames\n100,0,60.0,999\n")
        evaluate(folder, "--episodes", 1)
        old, new = rows(copy)
        assert (old["episode_return"], old["checkpoint"]) == ("60.0", "")
        assert new["checkpoint"] == "final"

    def test_other_play_settings_add_rows(self, run):
        flags = ("--protocol", "sticky", "--deterministic", "--seed", 8)
        evaluate(run.folder, "--episodes", 1, *flags)
        last = rows(run)[-1]
        assert (last["protocol"], last["policy"]) == ("sticky", "deterministic")

    def test_of_an_earlier_checkpoint(self, run, monkeypatch):
        monkeypatch.chdir(run.checkpoints)
        checkpoint = min(path.name for path in run.checkpoints.glob("step-*.zip"))
        evaluate(checkpoint, "--episodes", 1, "--seed", 9)
        assert int(rows(run)[-1]["step"]) == 60

    @pytest.mark.parametrize("name", ["step-0000000060", "step-60", "60"])
    def test_of_a_checkpoint_by_its_step(self, run, name):
        agent = load_agent(run.folder, checkpoint=name, device="cpu")
        assert (agent.checkpoint, agent.model.num_timesteps) == ("step-0000000060", 60)

    def test_of_a_run_of_an_earlier_version(self, run, tmp_path, capsys):
        folder = tmp_path / "run"
        shutil.copytree(run.folder, folder)
        rename_classes(Run(folder).final_model)
        settings = yaml.safe_load(run.config.read_text())
        del settings["experiment"]
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        evaluate(run.folder, "--episodes", 1, "--seed", 10)
        assert evaluate(folder, "--episodes", 1, "--seed", 10) == 0
        assert rows(Run(folder))[-1] == rows(run)[-1]

    def test_are_not_saved_while_a_training_uses_the_run(self, run, capsys):
        before = rows(run)
        with lock(run.folder):
            assert evaluate(run.folder, "--episodes", 1) == 0
        shown = capsys.readouterr().out
        assert "mean score" in shown
        message = f"Scores not saved: {run.folder} is in use by another"
        # A terminal wraps lines anywhere.
        assert "".join(message.split()) in "".join(shown.split())
        assert rows(run) == before

    def test_of_another_game_are_not_saved(self, run, capsys):
        before = rows(run)
        assert evaluate(run.folder, "--episodes", 1, "--env", "Asterix") == 0
        assert "Scores not saved: the run's game is MsPacman" in capsys.readouterr().out
        assert rows(run) == before


@pytest.mark.parametrize(
    ("checkpoint", "changes", "name"),
    [
        ("final", {}, "final-step-0000000060"),
        ("best", {"seed": 7}, "best-step-0000000060-seed-7"),
        ("classic", {}, "classic-step-0000000060"),
        ("step-0000000060", {"game": "Asterix"}, "step-0000000060-Asterix"),
        (
            "final",
            {"protocol": "sticky", "deterministic": True},
            "final-step-0000000060-sticky-deterministic",
        ),
    ],
)
def test_agents_do_not_replace_each_others_files(run, checkpoint, changes, name):
    agent = load_agent(run.folder, checkpoint="step-0000000060", device="cpu")
    settings = replace(PlaySettings("MsPacman"), **changes)
    assert file_name(replace(agent, checkpoint=checkpoint), settings) == name


class Clock(gym.Env):
    """A game with a fixed number of steps, which is also its score."""

    observation_space = spaces.Box(0, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int) -> None:
        self._length, self._left = length, length

    def reset(self, **_):
        self._left = self._length
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._left -= 1
        return np.zeros(1, np.float32), 1.0, self._left == 0, False, {}


def test_short_games_are_not_counted_more_often(monkeypatch):
    def make(game, n_envs, **_):
        return DummyVecEnv([lambda n=n: Monitor(Clock(n)) for n in (1, 50, 50, 50)][:n_envs])

    monkeypatch.setattr(play_module, "make_atari_env", make)
    agent = stable_baselines3.A2C("MlpPolicy", make("", 4), device="cpu")
    games = play(agent, PlaySettings("clocks", n_envs=4), 8)
    # The first eight games to end would be eight of length 1.
    assert sorted(games.returns) == [1, 1, 50, 50, 50, 50, 50, 50]


def test_the_interval_of_the_mean():
    low, high = Games([0.0, 10.0] * 50, [1] * 100).interval()
    # Normal approximation: 5 -+ 1.96 x 5 / sqrt(100).
    assert low == pytest.approx(4.02, abs=0.15)
    assert high == pytest.approx(5.98, abs=0.15)
    assert Games([3.0], [1]).interval() == (3, 3)


class TestAgentsFromElsewhere:
    @pytest.mark.parametrize("algorithm", ["A2C", "PPO", "DQN", "QRDQN"])
    def test_play_once_trusted(self, tmp_path, capsys, algorithm):
        memory = {} if algorithm in ("A2C", "PPO") else {"buffer_size": 10}
        agent = save_elsewhere(tmp_path / "agent.zip", algorithm, **memory)
        assert evaluate(agent, "--env", "MsPacmanNoFrameskip-v4", "--episodes", 1) == 2
        assert "--trust" in capsys.readouterr().err
        flags = ("--env", "MsPacmanNoFrameskip-v4", "--episodes", 1, "--trust")
        assert evaluate(agent, *flags) == 0
        assert "mean score" in capsys.readouterr().out
        assert [path.name for path in tmp_path.iterdir()] == ["agent.zip"]

    def test_are_trusted_with_their_content(self, tmp_path, capsys):
        agent = save_elsewhere(tmp_path / "agent.zip", "A2C", seed=0)
        load_agent(agent, trust=True, device="cpu")
        (tmp_path / "renamed.zip").write_bytes(agent.read_bytes())
        assert load_agent(tmp_path / "renamed.zip", device="cpu").checkpoint == "renamed"
        save_elsewhere(agent, "A2C", seed=1)
        assert evaluate(agent, "--env", "MsPacman") == 2
        assert "add --trust once" in capsys.readouterr().err
        agents._trusted_list().write_bytes(b"\xff damaged")
        assert evaluate(tmp_path / "renamed.zip", "--env", "MsPacman") == 2

    def test_can_be_trusted_without_a_cache_folder(self, tmp_path, monkeypatch):
        agent = save_elsewhere(tmp_path / "agent.zip", "A2C")
        monkeypatch.setattr(agents, "_trusted_list", lambda: agent / "no folder" / "list")
        assert load_agent(agent, trust=True, device="cpu").checkpoint == "agent"

    def test_that_cannot_be_loaded_are_not_remembered(self, tmp_path):
        agent = save_elsewhere(tmp_path / "agent.zip", "A2C")
        with pytest.raises(UserError, match="cannot be loaded"):
            load_agent(agent, algo="dqn", trust=True)
        assert not agents._trusted_list().exists()

    def test_are_loaded_without_their_replay_buffer(self, tmp_path):
        path = save_elsewhere(tmp_path / "agent.zip", "DQN", buffer_size=1000)
        assert load_agent(path, trust=True, device="cpu").model.replay_buffer.buffer_size == 1

    def test_next_to_another_programs_config_are_not_of_a_run(self, tmp_path, capsys):
        agent = save_elsewhere(tmp_path / "final_model.zip", "A2C")
        (tmp_path / "config.yaml").write_text("hydra: {}\n")
        flags = ("--env", "MsPacman", "--episodes", 1)
        assert evaluate(agent, *flags) == 2
        assert "--trust" in capsys.readouterr().err
        assert evaluate(agent, *flags, "--trust") == 0

    def test_need_a_game_that_fits(self, tmp_path, capsys):
        agent = save_elsewhere(tmp_path / "agent.zip", "A2C")
        assert evaluate(agent, "--trust") == 2
        assert "--env" in capsys.readouterr().err
        assert evaluate(agent, "--trust", "--env", "Pong") == 2
        error = capsys.readouterr().err
        assert "Discrete(9)" in error
        assert "Discrete(6)" in error


class TestAFolderAboveRuns:
    def test_with_one_run_is_that_run(self, run, tmp_path):
        """Even if there are a toy run and another program's files, too."""
        folder = tmp_path / "runs" / "a2c" / "MsPacman" / "coordconv" / "seed-0"
        shutil.copytree(run.folder, folder)
        toy = tmp_path / "runs" / "toy" / "seed-0"
        toy.mkdir(parents=True)
        (toy / "config.yaml").write_text("experiment: toy\n")
        (tmp_path / "runs" / "config.yaml").write_text("hydra: {}\n")
        before = len(rows(Run(folder)))
        for path in ("runs", tmp_path / "runs" / "a2c"):
            assert evaluate(path, "--episodes", 1, "--seed", len(str(path))) == 0
        assert len(rows(Run(folder))) == before + 2

    def test_with_several_runs_suggests_one(self, two_runs, capsys):
        assert evaluate(two_runs, "--episodes", 1) == 2
        error = capsys.readouterr().err
        assert f"contains 2 runs; pass one, such as {two_runs / 'a2c'}" in error
        assert error.count("\n") == 1


class TestMistakes:
    @pytest.mark.parametrize(
        ("flags", "says"),
        [
            (["--seed", "-1"], "--seed must be at least 0"),
            (["--seed", "4294967296"], "--seed must be at most 4294967295"),
            (["--episodes", "0"], "--episodes must be at least 1"),
            (["--best-of", "2"], "--video or --gif"),
            (["--checkpoint", "bets"], "best"),
            (["--checkpoint", "best"], "no best agent"),
            (["--checkpoint", "101"], "did you mean step-0000000100"),
            (["--render", "human", "--gif"], "--render cannot be combined with --gif"),
            (["--render", "human", "--explain"], "--render cannot be combined with --explain"),
            (["--render", "rgb_array"], "human"),
            (["--algo", "a2z"], "a2c"),
            (["--algo", "dqn"], "cannot be loaded"),
            (["--env", "MsPacmen"], "MsPacman"),
        ],
    )
    def test_are_reported(self, run, capsys, flags, says):
        assert evaluate(run.folder, *flags) == 2
        error = capsys.readouterr().err
        assert says in error
        assert len(error.strip().splitlines()) == 1

    def test_an_agent_that_diverged(self, run, tmp_path, capsys, monkeypatch):
        """With ``~`` in the path, too."""
        monkeypatch.setenv("HOME", str(tmp_path))
        shutil.copytree(run.folder, tmp_path / "run")
        model = stable_baselines3.A2C.load(run.final_model)
        model.policy.action_net.bias.data.fill_(np.nan)
        model.save(tmp_path / "run" / "final_model.zip")
        assert evaluate("~/run", "--episodes", 1) == 2
        error = capsys.readouterr().err
        assert error == "The agent's output is NaN or infinite: its training diverged.\n"

    def test_no_such_run(self, tmp_path, capsys):
        assert evaluate(tmp_path / "nothing") == 2
        assert capsys.readouterr().err == f"There is no agent {tmp_path / 'nothing'}.\n"
        (tmp_path / "coordconv" / "seed-0").mkdir(parents=True)
        assert evaluate("cordconv/seed-0") == 2
        hint = "; did you mean coordconv/seed-0?"
        assert capsys.readouterr().err == f"There is no agent cordconv/seed-0{hint}\n"
        assert evaluate(tmp_path) == 2
        assert "contains no run of an Atari agent.\n" in capsys.readouterr().err
        (tmp_path / "best_model.zip").touch()
        assert evaluate(tmp_path) == 2
        assert f"pass its path: {tmp_path / 'best_model.zip'}" in capsys.readouterr().err
        assert evaluate(tmp_path / "best_model.zip", "--checkpoint", "best") == 2
        assert "--checkpoint needs a run folder" in capsys.readouterr().err

    def test_not_an_agent(self, tmp_path, capsys):
        (tmp_path / "broken.zip").write_bytes(b"PK, but not for long")
        assert evaluate(tmp_path / "broken.zip", "--trust", "--env", "Pong") == 2
        assert re.search(r"broken.zip is not an agent", capsys.readouterr().err)
