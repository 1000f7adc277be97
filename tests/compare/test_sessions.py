"""Monitors, evaluations and calls of ``learn()`` of one SB3 run are joined."""

import shutil

import numpy as np
import pytest
from fake_sb3 import (
    SCORE,
    START,
    games_of,
    only,
    points_of,
    row_of,
    seeds,
    write_events,
    write_monitor,
    write_zoo,
)

from rl_coordconv.compare.find import find_runs

GAME = "MsPacmanNoFrameskip-v4"


class TestLearnCalledAgain:
    """``learn()`` in a loop, with ``reset_num_timesteps=True``, its default."""

    def write(self, root, entropies, name="A2C_{}"):
        for i, entropy in enumerate(entropies):
            points = points_of(games_of(i), start=START + 1000 * i)
            folder = root / name.format(i + 1)
            own = np.column_stack([points[:, :2], np.linspace(*entropy, len(points))])
            for tag, values in ((SCORE, points), ("train/entropy_loss", own)):
                if not np.isnan(values).any():
                    path = write_events(folder, values, tag=tag, number=len(tag))
                    path.rename(folder / f"events.out.tfevents.1700000000.host.77.{len(tag)}")

    def test_with_the_same_model_is_one_run(self, tmp_path):
        self.write(tmp_path, [(-1.8, -1.5), (-1.49, -1.2), (-1.21, -1)])
        run = only(tmp_path)
        assert run.last_step > 2.5 * points_of(games_of(0))[-1, 0]
        assert sum("it continues" in note for note in run.notes) == 2

    def test_with_the_same_model_is_one_run_if_each_folder_is_given(self, tmp_path):
        self.write(tmp_path, [(-1.8, -1.5), (-1.49, -1.2), (-1.21, -1)])
        assert len(only(*tmp_path.iterdir()).files) == 6

    def test_with_the_same_model_and_other_folder_names_is_one_run(self, tmp_path):
        self.write(tmp_path, [(-1.8, -1.5), (-1.49, -1.2)], "round{}")
        assert list(seeds(tmp_path).values()) == [1]

    @pytest.mark.parametrize("name", ["A2C_{}", "seed_{}"])
    def test_with_new_models_is_several_seeds(self, tmp_path, name):
        self.write(tmp_path, [(-1.8, -1.5), (-1.79, -1.2), (-1.8, -1)], name)
        assert list(seeds(tmp_path).values()) == [3]

    def test_has_a_note_if_the_model_is_unknown(self, tmp_path):
        self.write(tmp_path, [(np.nan, np.nan)] * 2)
        notes = [note for run in find_runs([tmp_path]).runs for note in run.notes]
        assert sum("it is counted as a different seed from" in note for note in notes) == 1

    def test_with_one_monitor_is_one_run(self, tmp_path):
        games = games_of(0, 360)
        write_monitor(tmp_path / "mon", games)
        for i, own in enumerate(np.split(games, 3)):
            last = games[120 * i - 1, 1] if i else 0
            points = points_of(own)
            ends = own[np.searchsorted(own[:, 0].cumsum() / 4, points[:, 0], side="right") - 1, 1]
            points[:, 1] = START + np.maximum(ends, last) + 0.001
            write_events(tmp_path / "tb" / f"A2C_{i + 1}", points)
        assert len(only(tmp_path).returns) == 360


class TestMonitorsInOneFolder:
    """``Monitor(env, "logs/NAME")`` for several runs."""

    def test_named_after_seeds_are_several_seeds(self, tmp_path):
        for seed in range(3):
            name = f"seed{seed}.monitor.csv"
            write_monitor(tmp_path / "logs", games_of(seed), start=START + seed, name=name)
        assert seeds(tmp_path / "logs") == {"sb3": 3}
        assert {run.seed for run in find_runs([tmp_path / "logs"]).runs} == {"0", "1", "2"}

    def test_named_after_variants_are_several_variants(self, tmp_path):
        for i, name in enumerate(("nature_0", "nature_1", "mine_0", "mine_1")):
            name = f"{name}.monitor.csv"
            write_monitor(tmp_path / "logs", games_of(i), start=START + i, name=name)
        assert sorted(seeds(tmp_path / "logs").values()) == [1, 1]

    def test_of_several_games_are_several_runs(self, tmp_path):
        for game in ("Pong", "Breakout"):
            name, env_id = f"{game.lower()}.monitor.csv", f"{game}NoFrameskip-v4"
            games = games_of(len(game))
            write_monitor(tmp_path / "logs", games, env_id=env_id, name=name)
        assert {run.game for run in find_runs([tmp_path / "logs"]).runs} == {"Pong", "Breakout"}


class TestMonitorsInSeveralFolders:
    """Those of one run are identified by TensorBoard's means."""

    def write(self, root, folders, seed=0):
        games = games_of(seed, 240)
        steps = games[:, 0].cumsum()
        games[:, 1] = steps / 8000 - 0.01
        write_events(root / "tb" / f"A2C_{seed + 1}", points_of(games, start=START + seed))
        for folder, own in zip(folders, self.parts(games, len(folders)), strict=True):
            write_monitor(root / folder, own, start=START + seed)
        return games

    def parts(self, games, n):
        return [games[i::n] for i in range(n)]

    @pytest.mark.parametrize("name", ["env_{}", "{}", "mon/agent-{}"])
    def test_one_of_each_environment_is_one_run(self, tmp_path, name):
        games = self.write(tmp_path, [name.format(i) for i in range(4)])
        run = only(tmp_path)
        assert sorted(run.returns) == sorted(games[:, 2])
        assert run.last_step == games[:, 0].sum() / 4

    def test_named_after_environments_are_one_run_without_events(self, tmp_path):
        for i in range(4):
            write_monitor(tmp_path / f"env_{i}", games_of(i), start=START)
        assert len(only(tmp_path).returns) == 240

    def test_one_of_each_session_is_one_run(self, tmp_path):
        self.parts = np.array_split
        games = self.write(tmp_path, ["first", "resumed"])
        assert only(tmp_path).returns.tolist() == games[:, 2].tolist()

    def test_of_several_seeds_are_not_joined(self, tmp_path):
        for seed in range(3):
            self.write(tmp_path / f"seed_{seed}", [f"mon/{i}" for i in range(4)], seed)
        assert list(seeds(tmp_path).values()) == [3]
        assert [run.seed for run in find_runs([tmp_path]).runs] == ["0", "1", "2"]


def test_a_rerun_of_the_same_seed_is_a_copy(tmp_path):
    points = points_of(games_of(0))
    for i in range(3):
        write_events(tmp_path / f"A2C_{i + 1}", points + np.array([0, 5000 * i, 0]))
    found = find_runs([tmp_path])
    assert len(found.runs) == 1
    assert [reason.split("copy")[0] for _, reason in found.left_out] == ["it is a "] * 2


class TestEvaluations:
    def write(self, root):
        games = games_of(0)
        write_monitor(root / "mon", games)
        write_events(root / "tb", points_of(games))
        return games[:, 0].sum() / 4

    @pytest.mark.parametrize("name", ["val.monitor.csv", "other.monitor.csv"])
    def test_a_monitor_of_evaluations_has_no_training_games(self, tmp_path, name):
        last_step = self.write(tmp_path)
        games = games_of(9, 20)
        write_monitor(tmp_path, games, name=name)
        scores = games[:, 2].reshape(4, 5)
        np.savez(tmp_path / "evaluations.npz", timesteps=np.arange(1, 5) * 1000, results=scores)
        run = only(tmp_path)
        assert run.last_step == last_step
        assert run.evaluation_returns.tolist() == games[:, 2].tolist()

    def test_the_first_of_two_evaluation_files_is_used(self, tmp_path):
        self.write(tmp_path)
        for i, name in enumerate(("eval_det", "eval_sto")):
            (tmp_path / name).mkdir()
            results = games_of(i, 20)[:, 2].reshape(4, 5)
            np.savez(tmp_path / name / "evaluations", timesteps=np.arange(4) * 99, results=results)
        assert any("has more evaluations" in note for note in only(tmp_path).notes)

    def test_evaluations_in_a_copied_folder_do_not_make_a_run(self, tmp_path):
        folder = tmp_path / "logs" / "a2c" / f"{GAME}_1"
        write_zoo(folder, {"ent_coef": 0.01}, seed=3)
        write_monitor(folder, games_of(0))
        np.savez(folder / "evaluations", timesteps=[1000, 2000], results=[[1.0], [2.0]])
        shutil.copytree(folder, folder.with_name("best nature"))
        assert len(only(tmp_path / "logs").returns) == 60


def test_games_after_the_checkpoint_of_a_resumed_monitor_do_not_count(tmp_path):
    first, second = games_of(0), games_of(1)
    path = write_monitor(tmp_path, first)
    path.write_text(path.read_text() + "\n".join([*map(row_of, second), ""]))
    resumed = first[:30, 0].sum() / 4  # from a checkpoint
    points, more = points_of(first), points_of(second)
    more[:, 1] += 1000
    write_events(tmp_path, np.concatenate([points, more + np.array([resumed, 0, 0])]))
    run = only(tmp_path)
    assert run.last_step == pytest.approx(resumed + second[:, 0].sum() / 4, abs=2000)
    assert len(run.returns) == pytest.approx(90, abs=4)
