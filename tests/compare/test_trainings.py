"""One run never counts twice, and two variants never count as one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from fake_sb3 import (
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

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.events import in_order
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.sb3.names import find_algorithm
from rl_coordconv.compare.sentences import verdicts

GAME = "MsPacmanNoFrameskip-v4"


class TestContinuedWithRlZoo3:
    """``-i`` starts another folder, whose steps start at 0."""

    @pytest.fixture
    def root(self, tmp_path):
        for number, agent in (1, "''"), (2, 1), (3, 2):
            folder = tmp_path / "logs" / "a2c" / f"{GAME}_{number}"
            if number > 1:
                agent = f"logs/a2c/{GAME}_{agent}/{GAME}.zip"
            write_zoo(folder, seed=number, trained_agent=agent)
            write_monitor(folder, games_of(number), start=START + 1000 * number)
        return tmp_path / "logs"

    def test_is_one_run(self, root):
        run = only(root)
        games = np.concatenate([games_of(number) for number in (1, 2, 3)])
        assert run.returns.tolist() == games[:, 2].tolist()
        assert run.last_step == games[:, 0].sum() / 4
        assert run.folder.name == f"{GAME}_3"
        assert len(run.files) == 3
        assert sum("it continues" in note for note in run.notes) == 2

    def test_does_not_count_as_several_seeds(self, root, tmp_path):
        shutil.copytree(root, tmp_path / "bob" / "logs")
        for path in (tmp_path / "bob").rglob("*monitor.csv"):
            number = int(path.parent.name[-1])
            write_monitor(path.parent, games_of(number + 10, mean=900), start=START + number)
        assert set(seeds(root, tmp_path / "bob").values()) == {1}

    def test_counts_only_one_of_two_branches(self, root):
        folder = root / "a2c" / f"{GAME}_4"
        write_zoo(folder, seed=4, trained_agent=f"logs/a2c/{GAME}_1/best_model.zip")
        write_monitor(folder, games_of(4), start=START + 9000)
        found = find_runs([root])
        assert len(found.runs) == 1
        assert found.left_out == (
            (folder, f"it starts like the longer run in {found.runs[0].folder}"),
        )

    def test_from_a_checkpoint_replaces_later_games(self, root):
        folder = root / "a2c" / f"{GAME}_3"
        agent = f"logs/a2c/{GAME}_2/rl_model_3000_steps.zip"
        write_zoo(folder, seed=3, trained_agent=agent)
        first, second, third = (games_of(number) for number in (1, 2, 3))
        kept = int((second[:, 0].cumsum() / 4 <= 3000).sum())
        games = np.concatenate([first, second[:kept], third])
        assert only(root).returns.tolist() == games[:, 2].tolist()

    def test_from_a_missing_agent_has_a_note(self, root):
        shutil.rmtree(root / "a2c" / f"{GAME}_1")
        run = only(root)
        assert len(run.returns) == 120
        assert any("whose run was not found" in note for note in run.notes)

    def test_twice_from_one_missing_agent_is_one_run(self, tmp_path):
        for number in 2, 3:
            folder = tmp_path / "a2c" / f"{GAME}_{number}"
            write_zoo(folder, seed=number, trained_agent=f"elsewhere/{GAME}_1/best_model.zip")
            write_monitor(folder, games_of(number), start=START + number)
        assert seeds(tmp_path) == {only(tmp_path).variant: 1}


class TestCopies:
    @pytest.mark.parametrize("name", ["0.monitor.csv", "best.monitor.csv", "monitor.csv"])
    @pytest.mark.parametrize("folder", ["a2c/Pong_1_best", "backup", "a2c"])
    @pytest.mark.parametrize("kept", [20, 60])
    def test_of_a_monitor_do_not_count(self, tmp_path, name, folder, kept):
        write_monitor(tmp_path / "logs" / "a2c" / "Pong_1", games_of(0))
        write_monitor(tmp_path / "logs" / folder, games_of(0)[:kept], name=name)
        run = only(tmp_path / "logs")
        assert len(run.returns) == 60

    def test_next_to_the_original_do_not_count_games_twice(self, tmp_path):
        write_monitor(tmp_path / "a2c", games_of(0))
        write_monitor(tmp_path / "a2c", games_of(0)[:40], name="copy.monitor.csv")
        write_monitor(tmp_path / "a2c", games_of(1), start=START + 0.01, name="1.monitor.csv")
        found = find_runs([tmp_path])
        (run,) = found.runs
        assert len(run.returns) == 120
        copy, original = (tmp_path / "a2c" / f"{name}.monitor.csv" for name in ("copy", "0"))
        assert found.left_out == ((copy, f"it repeats games of {original}"),)

    @pytest.mark.parametrize("kept", [5, 10])
    def test_of_events_do_not_count(self, tmp_path, kept):
        points = points_of(games_of(0))[:10]
        write_events(tmp_path / "tb" / "A2C_1", points)
        write_events(tmp_path / "synchronised" / "A2C_1", points[:kept])
        write_events(tmp_path / "tb" / "A2C_1", points[:kept], number=1)
        assert len(only(tmp_path).returns) == 10

    def test_of_evaluations_do_not_count(self, tmp_path):
        for folder in tmp_path / "a2c" / "x", tmp_path / "best":
            folder.mkdir(parents=True)
            results = np.random.default_rng(0).normal(size=(5, 3))
            np.savez(folder / "evaluations.npz", timesteps=np.arange(5), results=results)
        assert len(find_runs([tmp_path]).runs) == 1

    def test_in_two_roots_are_one_variant(self, tmp_path):
        for root in "alice", "bob":
            write_monitor(tmp_path / root / "a2c", games_of(0))
        assert list(seeds(tmp_path / "alice", tmp_path / "bob").values()) == [1]

    def test_that_were_trained_further_are_one_seed(self, tmp_path):
        """A folder was copied halfway, and both copies were trained further."""
        for number in 1, 2:
            games = np.concatenate([games_of(0, 30), games_of(number, 30)])
            write_monitor(tmp_path / "a2c" / f"Pong_{number}", games)
        assert len(find_runs([tmp_path]).runs) == 1

    def test_of_a_run_in_tensorboard_are_not_a_variant(self, tmp_path):
        for seed in range(3):
            games = games_of(seed, 200)
            start = START + 5000 * seed
            write_monitor(tmp_path / "csvs" / f"a2c_{seed}", games, start=start)
            points = points_of(games, start=start)
            write_events(tmp_path / "boards" / f"A2C_{seed}" / "MsPacman", points)
        assert list(seeds(tmp_path / "csvs", tmp_path / "boards").values()) == [3]

    def test_of_a_run_of_this_package_under_another_name_do_not_count(self, tmp_path):
        folder = write_run(tmp_path / "runs")
        shutil.copytree(folder, tmp_path / "best")
        assert len(find_runs([tmp_path]).runs) == 1


class TestRounds:
    """``learn()`` in a loop, with a TensorBoard folder per call."""

    def test_with_continued_steps_are_one_run(self, tmp_path):
        points = points_of(games_of(0, 200))
        for number, part in enumerate(np.array_split(points, 5)):
            write_events(tmp_path / "tb" / f"A2C_{number + 1}", part)
        run = only(tmp_path)
        assert run.returns == pytest.approx(points[:, 2])
        assert sum("continue those in" in note for note in run.notes) == 4

    def test_with_one_point_each_are_one_run(self, tmp_path):
        points = points_of(games_of(0, 100))[:5]
        for number, point in enumerate(points):
            write_events(tmp_path / f"PPO_{number}", point[None])
        assert len(only(tmp_path).returns) == 5

    def test_next_to_one_monitor_belong_to_its_run(self, tmp_path):
        games = games_of(0, 200)
        write_monitor(tmp_path / "a2c", games)
        for number, part in enumerate(np.array_split(points_of(games), 3)):
            write_events(tmp_path / "a2c" / f"A2C_{number + 1}", part)
        assert len(only(tmp_path).files) == 4

    def test_of_two_seeds_are_two_runs(self, tmp_path):
        number = 0
        for seed in 0, 1:
            points = points_of(games_of(seed, 100), start=START + 50_000 * seed)
            for part in np.array_split(points, 4):
                number += 1
                write_events(tmp_path / "tb" / f"A2C_{number}", part)
        found = find_runs([tmp_path])
        assert sorted(run.returns[-1] for run in found.runs) == pytest.approx(
            sorted(points_of(games_of(seed, 100))[-1, 2] for seed in (0, 1))
        )

    def test_from_scratch_are_several_seeds(self, tmp_path):
        for seed in range(3):
            points = points_of(games_of(seed, 100), start=START + 50_000 * seed)
            write_events(tmp_path / "tb" / f"A2C_{seed + 1}", points)
        assert len(find_runs([tmp_path]).runs) == 3


class TestEventsInOneFolder:
    def test_of_a_resume_replace_points_after_its_step(self, tmp_path):
        points = points_of(games_of(0, 100))
        late = points[6:] + np.array([0, 1e6, 0])
        late[:, 2] += 1000
        write_events(tmp_path / "A2C_1", points[:10])
        write_events(tmp_path / "A2C_1", late)
        run = only(tmp_path)
        assert run.steps.tolist() == points[:, 0].tolist()
        assert run.returns == pytest.approx([*points[:6, 2], *late[:, 2]])

    def test_written_at_the_same_time_are_two_runs(self, tmp_path):
        for seed in 0, 1:
            points = points_of(games_of(seed, 100), start=START + seed)
            write_events(tmp_path / "A2C_1", points, number=seed)
        assert len(find_runs([tmp_path]).runs) == 2

    def test_are_sorted_by_time_and_not_by_name(self, tmp_path):
        points = points_of(games_of(0, 100))
        for name, part in ("b", points[:8]), ("a", points[8:]):
            path = write_events(tmp_path / "A2C_1", part)
            path.rename(path.with_name(f"events.out.tfevents.{name}"))
        assert only(tmp_path).returns == pytest.approx(points[:, 2])

    def test_in_order_by_hand(self):
        points = np.array([[1, 0, 5], [2, 1, 6], [3, 2, 7], [2, 3, 8], [4, 4, 9]], dtype=float)
        assert in_order(points)[:, 2].tolist() == [5, 8, 9]


class TestSessions:
    """``Monitor(override_existing=False)`` appends."""

    def test_are_in_file_order(self, tmp_path):
        first, second = games_of(0), games_of(1)
        path = write_monitor(tmp_path / "a2c", first)
        with path.open("a") as file:
            file.writelines(f"{row_of(game)}\n" for game in second)
        run = only(tmp_path)
        assert run.returns.tolist() == [*first[:, 2], *second[:, 2]]
        assert "0.monitor.csv contains 2 sessions in sequence" in run.notes

    def test_of_several_environments_follow_each_other(self, tmp_path):
        expected = []
        for session in 0, 1:
            games = [(0.5, 7 + session), (1.0, 8 + session), (1.5, 9), (2.0, 10)]
            expected += [score for _, score in games]
        for name, start in ("0", 0), ("1", 1):
            rows = [f"{expected[i]},10,{1.0 + (i % 4) * 0.5}" for i in range(start, 8, 2)]
            text = "\n".join(['#{"t_start": 5.0, "env_id": "Pong"}', "r,l,t", *rows, ""])
            (tmp_path / "a2c").mkdir(exist_ok=True)
            (tmp_path / "a2c" / f"{name}.monitor.csv").write_text(text)
        assert only(tmp_path).returns.tolist() == expected


class TestEvaluationGames:
    @pytest.mark.parametrize(
        ("train", "evaluation"),
        [
            ("monitor.csv", "eval.monitor.csv"),
            ("0.monitor.csv", "eval_0.monitor.csv"),
            ("train/0.monitor.csv", "eval/0.monitor.csv"),
            ("train/monitor.csv", "evaluation/monitor.csv"),
        ],
    )
    def test_are_neither_training_games_nor_a_seed(self, tmp_path, train, evaluation):
        games = games_of(0)
        path = tmp_path / "a2c" / train
        write_monitor(path.parent, games, name=path.name)
        path = tmp_path / "a2c" / evaluation
        late = games_of(1, 5)
        late[:, 1] = games[40, 1] + np.arange(5) / 1e4
        write_monitor(path.parent, late, name=path.name)
        run = only(tmp_path)
        assert run.returns.tolist() == games[:, 2].tolist()
        assert run.evaluation_returns.tolist() == late[:, 2].tolist()
        assert run.evaluation_steps == pytest.approx(games[:41, 0].sum() / 4, rel=0.01)

    def test_alone_are_not_a_run(self, tmp_path):
        write_run(tmp_path)
        write_monitor(tmp_path / "a2c_x" / "eval", games_of(0))
        ((_, reason),) = find_runs([tmp_path]).left_out
        assert reason == "it has only evaluation games, whose training steps are unknown"

    def test_in_a_parent_folder_belong_to_the_run_with_the_same_means(self, tmp_path):
        means = {}
        for number in 1, 2:
            folder = tmp_path / "a2c" / f"A2C_{number}"
            games = games_of(number, 100)
            start = START + number
            write_events(folder, points_of(games, start=start))
            values = np.random.default_rng(number).normal(size=(2, 3))
            means[number] = values
            evaluated = np.array([[1000, start + 1, 0], [2000, start + 2, 0]], dtype=float)
            evaluated[:, 2] = values.mean(axis=1)
            write_events(folder, evaluated, tag="eval/mean_reward", number=9)
        results = tmp_path / "a2c" / "evaluations.npz"
        np.savez(results, timesteps=[1000, 2000], results=means[2])
        first, second = sorted(find_runs([tmp_path]).runs, key=lambda run: run.folder.name)
        assert len(first.evaluation_returns) == 2
        assert second.evaluation_returns == pytest.approx(means[2].ravel())
        np.savez(results, timesteps=[1000, 2000], results=means[2] + 1)
        found = find_runs([tmp_path])
        assert len(found.runs) == 2
        assert found.left_out[0][0] == tmp_path / "a2c"


class TestVariants:
    def test_of_different_roots_are_different(self, tmp_path):
        for number, name in enumerate(("alice", "bob")):
            for seed in 1, 2:
                folder = tmp_path / name / "logs" / "a2c" / f"{GAME}_{seed}"
                write_monitor(folder, games_of(10 * number + seed))
        assert seeds(tmp_path / "alice" / "logs", tmp_path / "bob" / "logs") == {
            "alice": 2,
            "bob": 2,
        }

    def test_named_like_an_extractor_get_a_suffix(self, tmp_path):
        for number, name in enumerate(("nature", "coordconv")):
            for seed in 1, 2:
                folder = tmp_path / "logs" / name / f"A2C_{seed}" / "MsPacman"
                write_monitor(folder, games_of(10 * number + seed))
        write_run(tmp_path / "runs", "nature")
        logs = tmp_path / "logs"
        expected = {"nature (sb3)": 2, "coordconv (sb3)": 2}
        assert seeds(logs / "nature", logs / "coordconv") == expected
        assert seeds(logs, tmp_path / "runs") == {"nature": 1, **expected}

    def test_are_named_by_rl_zoo3s_extractor(self, tmp_path):
        number = 0
        ours = "{features_extractor_class: !!python/name:rl_coordconv.extractors.CoordNatureCNN '',"
        settings = {
            "nature (sb3)": "coordinates: none",
            "coordconv (sb3)": "coordinates: first, control: null",
            "coordconv-r (sb3)": "with_r: True",
            "nature-noise (sb3)": "control: noise",
            "nature-gap (sb3)": "coordinates: none, global_pooling: True",
            "nature-gap-noise (sb3)": "control: noise, global_pooling: True",
            "CoordNatureCNN {'coordinates': [1]}": "coordinates: [1]",  # an unnamed placement
        }
        for extractor in settings.values():
            kwargs = f"{ours} features_extractor_kwargs: {{{extractor}}}}}"
            for seed in 1, 2:
                number += 1
                folder = tmp_path / "logs" / "a2c" / f"{GAME}_{number}"
                write_zoo(folder, {"policy_kwargs": kwargs, "ent_coef": 0.01}, seed=seed)
                write_monitor(folder, games_of(number))
        assert seeds(tmp_path / "logs") == dict.fromkeys(settings, 2)

    def test_that_differ_in_a_setting_of_rl_zoo3_are_named_by_it(self, tmp_path):
        for number, rate in enumerate((0.001, 0.001, 0.0007)):
            folder = tmp_path / "logs" / "a2c" / f"{GAME}_{number}"
            write_zoo(folder, {"learning_rate": rate}, seed=number)
            write_monitor(folder, games_of(number))
        assert seeds(tmp_path / "logs") == {
            "sb3, learning_rate=0.001": 2,
            "sb3, learning_rate=0.0007": 1,
        }

    def test_that_differ_in_a_logged_setting_are_named_by_it(self, tmp_path):
        for number, rate in enumerate((0.001, 0.001, 0.0007)):
            folder = tmp_path / "tb" / f"A2C_{number}"
            points = points_of(games_of(number, 100), start=START + number)
            write_events(folder, points)
            points[:, 2] = rate
            write_events(folder, points, tag="train/learning_rate", number=9)
        assert set(seeds(tmp_path / "tb").values()) == {1, 2}

    def test_are_named_by_their_folders(self, tmp_path):
        for number, name in enumerate(("deep_seed1", "deep_seed2", "wide_seed1")):
            write_monitor(tmp_path / "logs" / name, games_of(number))
        assert seeds(tmp_path / "logs") == {"deep": 2, "wide": 1}

    def test_run_numbers_of_sb3_are_seeds(self, tmp_path):
        """``tb_log_name="deep"`` makes deep_1, deep_2 and so on."""
        names = ["deep_1", "deep_2", "wide_1", "wide_2", "wide_3", "layers_2", "layers_4"]
        for number, name in enumerate(names):
            points = points_of(games_of(number), start=START + 5e4 * number)
            write_events(tmp_path / "tb" / name, points)
        assert seeds(tmp_path / "tb") == {"deep": 2, "wide": 3, "layers_2": 1, "layers_4": 1}

    def test_numbers_in_names_of_settings_distinguish_variants(self, tmp_path):
        for number, name in enumerate(("lr1e-3", "lr1e-4", "layers_2", "layers_3", "run_4")):
            write_monitor(tmp_path / "logs" / name / "A2C_1", games_of(number))
        names = {"lr1e-3", "lr1e-4", "layers_2", "layers_3", "sb3"}
        assert seeds(tmp_path / "logs") == dict.fromkeys(names, 1)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a2c_Pong", "a2c_Breakout/A2C_1"),
            ("a2c_Pong", "ppo_Pong/PPO_1"),
            ("Pong_seed1", "Pong_seed2/A2C_1"),
            ("run_1", "run_2/tb"),
            ("alice", "bob/A2C_1"),
        ],
    )
    def test_logs_with_contradicting_names_are_not_joined(self, tmp_path, one, other):
        games = games_of(0)
        write_monitor(tmp_path / one, games, env_id="")
        write_events(tmp_path / other, points_of(games_of(1)))
        found = find_runs([tmp_path])
        assert len(found.runs) + len(found.left_out) == 2


@pytest.mark.parametrize(
    ("path", "tags", "algorithm"),
    [
        ("logs/RecurrentPPO_1", ["train/clip_fraction"], "ppo_lstm"),
        ("logs/RecurrentPPO_1", [], "ppo_lstm"),
        ("logs/MaskablePPO_3", ["train/clip_fraction"], "ppo_mask"),
        ("ppo/atari/a2c-pong", [], "a2c"),
        ("a2c-vs-ppo/run_1", ["train/clip_fraction"], "ppo"),
        ("a2c-vs-ppo/run_1", [], "unknown"),
        ("a2c/run", ["train/clip_fraction"], "ppo"),
        ("x", ["rollout/exploration_rate"], "dqn"),
        ("QRDQN_1", ["rollout/exploration_rate"], "qrdqn"),
        ("qr-dqn-pong", [], "qrdqn"),
        ("TQC_1", ["train/ent_coef", "train/actor_loss"], "tqc"),
        ("x", ["train/ent_coef", "train/actor_loss"], "sac"),
        ("DDPG_1", ["train/actor_loss"], "ddpg"),
        ("x", ["train/actor_loss"], "td3"),
        ("SAC_1", [], "sac"),
        ("trpo_pong", ["train/is_line_search_success"], "trpo"),
        ("A2C_1", ["train/policy_loss"], "a2c"),
    ],
)
def test_the_algorithm_is_found_by_tags_and_then_by_the_nearest_name(path, tags, algorithm):
    assert find_algorithm("", Path(path).parts[::-1], tags) == algorithm


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("PPO_ent{}", "0.0", "0.1"),
        ("lr_{}", "0.001", "0.0001"),
        ("lr_{}", "1e-3", "1e-4"),
        ("net_{}", "64", "256"),
    ],
)
def test_a_setting_in_a_name_distinguishes_variants(tmp_path, name, first, second):
    for i, value in enumerate([first, first, second, second, second]):
        folder = tmp_path / "logs" / f"{name.format(value)}_{i + 1}"
        write_monitor(folder, games_of(i), start=START + i)
    assert sorted(seeds(tmp_path / "logs").values()) == [2, 3]


@pytest.mark.parametrize("name", ["A2C_{}", "seed-{}", GAME + "_{}"])
def test_roots_with_run_numbers_are_seeds(tmp_path, name):
    roots = [tmp_path / name.format(i) for i in range(3)]
    for i, root in enumerate(roots):
        write_monitor(root, games_of(i), start=START + i)
    assert list(seeds(*roots).values()) == [3]


def test_roots_with_other_numbers_are_variants(tmp_path):
    roots = [tmp_path / f"exp{i}" for i in range(3)]
    for i, root in enumerate(roots):
        write_monitor(root, games_of(i), start=START + i)
    assert len(seeds(*roots)) == 3


def test_a_date_in_a_name_does_not_distinguish_variants(tmp_path):
    for i in range(3):
        folder = tmp_path / "logs" / f"coordconv_2026-01-0{i + 1}_12-30-0{i}"
        write_monitor(folder, games_of(i), start=START + i)
    assert list(seeds(tmp_path / "logs").values()) == [3]


def test_a_log_that_may_be_of_a_run_does_not_change_its_variant(tmp_path):
    settings = {"policy_kwargs": "dict(features_extractor_class=CoordNatureCNN)"}
    for seed in (1, 2):
        folder = tmp_path / "logs" / "a2c" / f"{GAME}_{seed}"
        write_zoo(folder, settings, seed=seed)
        write_monitor(folder, games_of(seed), start=START + seed)
        points = points_of(games_of(seed + 9, 9), 1000, START + 50 * seed)
        write_events(tmp_path / "tb_coordconv" / GAME / f"A2C_{seed}", points)
    found = find_runs([tmp_path / "logs", tmp_path / "tb_coordconv"])
    used = [run for run in found.runs if run.window > 1]
    assert sorted((run.seed, run.variant) for run in used) == [
        ("1", "coordconv (sb3)"),
        ("2", "coordconv (sb3)"),
    ]


def test_the_report_lists_the_files_of_every_run(tmp_path):
    from rl_coordconv.compare.tables import runs_table

    folder = tmp_path / "logs" / "a2c" / f"{GAME}_1"
    for env in range(4):
        write_monitor(folder, games_of(env), start=START + env, name=f"{env}.monitor.csv")
    write_events(folder / "tb", points_of(games_of(0, 240)))
    (comparison,) = compare(find_runs([tmp_path / "logs"]).runs)
    (row,) = runs_table(comparison).rows
    (events,) = (folder / "tb").iterdir()
    listed = f"4 monitors, {Path('tb', events.name)}"
    assert row == [str(folder), "sb3", f"{GAME}_1", row[3], "240", listed]
    assert verdicts(comparison) == ["Only one variant (sb3) was found; nothing to compare."]
