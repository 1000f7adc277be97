import shutil

import numpy as np
import pytest
from fake_runs import write_run

from rl_coordconv.compare import results
from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.results import read_run
from rl_coordconv.compare.sentences import title
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.stored import read_stored_run, store_runs


def only(root):
    (run,) = find_runs([root]).runs
    return run


def read(folder):
    return read_run(read_stored_run(folder))


def test_a_run_has_its_algorithm_game_variant_and_seed(tmp_path):
    folder = write_run(tmp_path, "coordconv", 3, games=200, algorithm="ppo", game="Pong")
    run = only(tmp_path)
    assert (run.algorithm, run.game, run.variant, run.seed) == ("ppo", "Pong", "coordconv", "3")
    assert (run.protocol, run.folder, len(run.returns)) == ("classic", folder, 200)
    assert run.last_step == run.steps[-1] == 30_000
    assert run.hours[-1] == pytest.approx((30_000 - 150) / 2000 / 3600)


def test_a_score_is_the_mean_of_the_last_hundred_games(tmp_path):
    folder = write_run(tmp_path, games=150)
    returns = np.loadtxt(folder / "episodes.csv", delimiter=",", skiprows=1)[:, 2]
    run = read(folder)
    assert run.final_score(run.last_step) == pytest.approx(returns[-100:].mean())
    assert run.final_score(run.steps[1]) == pytest.approx(returns[:2].mean())
    assert np.isnan(run.final_score(0))


def test_a_lucky_first_game_does_not_reach_a_score(tmp_path):
    folder = write_run(tmp_path, games=300, start=0, final=1000, noise=0)
    lines = (folder / "episodes.csv").read_text().splitlines()
    lines[1] = "150,1700000000,900,600"
    (folder / "episodes.csv").write_text("\n".join(lines) + "\n")
    run = read(folder)
    reached = run.first_step(600)
    assert run.final_score(reached) >= 600 > run.final_score(reached - 150)
    assert reached > run.steps[98]
    assert np.isnan(run.first_step(2000))


def test_the_area_of_a_constant_score_is_that_score(tmp_path):
    run = read(write_run(tmp_path, start=500, final=500, noise=0))
    assert run.mean_score(run.last_step) == pytest.approx(500)


def test_pauses_do_not_count_as_training_time():
    seconds = np.array([0.0, 300.0, 90_000.0, 90_300.0])
    assert results.hours_without_pauses(seconds)[-1] == pytest.approx(600 / 3600)


HEAD = "step,game,episode_return,length_frames"


def evaluation_of(tmp_path, text):
    folder = write_run(tmp_path)
    (folder / "evaluations.csv").write_text(text)
    run = read(folder)
    return run.evaluation_score(run.last_step)


def test_the_final_evaluation_is_the_one_at_the_last_step(tmp_path):
    assert evaluation_of(tmp_path, f"{HEAD}\n10,0,1,9\n10,1,1,9\n20,0,4,9\n20,1,6,9\n") == 5


def test_an_evaluation_under_another_protocol_or_policy_does_not_count(tmp_path):
    rows = (
        "20,0,4,9,classic,stochastic,training",
        "20,0,50,9,sticky,stochastic,1",
        "20,0,60,9,classic,deterministic,1",
    )
    assert evaluation_of(tmp_path, "\n".join([f"{HEAD},protocol,policy,seed", *rows, ""])) == 4


@pytest.mark.parametrize(("games", "score"), [(3, 8), (4, 4)])
def test_later_evaluations_count_instead_if_they_have_as_many_games(tmp_path, games, score):
    rows = (
        *(f"20,{game},4,9,classic,stochastic,training" for game in range(games)),
        "20,0,8,9,classic,stochastic,1",
        "20,0,7,9,classic,stochastic,2",
        "20,1,9,9,classic,stochastic,2",
    )
    text = "\n".join([f"{HEAD},protocol,policy,seed", *rows, ""])
    assert evaluation_of(tmp_path, text) == score


def test_a_running_run_with_an_incomplete_last_row_is_read(tmp_path):
    folder = write_run(tmp_path, games=50, done=False)
    with (folder / "episodes.csv").open("a") as file:
        file.write("7650,17000")
    shutil.copy(folder / "evaluations.csv", tmp_path / "whole.csv")
    with (folder / "evaluations.csv").open("a") as file:
        file.write("7650,0,99")
    assert len(only(tmp_path).returns) == 50


def test_a_nan_is_left_out_and_reported(tmp_path):
    folder = write_run(tmp_path, games=50)
    with (folder / "episodes.csv").open("a") as file:
        file.write("7650,1700000010,nan,600\n")
    run = only(tmp_path)
    assert len(run.returns) == 50
    assert run.notes == ("1 of 51 rows of episodes.csv contain NaN or infinity and are left out",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.yaml", "env: }", "config.yaml is not valid YAML: see line 1"),
        ("episodes.csv", "step,wall_time,episode_return\n1,2\n", "episodes.csv is damaged"),
        ("episodes.csv", "step,wall_time\n1,2\n", "episodes.csv has no column episode_return"),
        ("episodes.csv", "step,wall_time,episode_return\n", "no game is finished yet"),
        ("episodes.csv", "\x00\x01\n", "episodes.csv has no column step"),
        ("episodes.csv", b"\xff\n", "episodes.csv has no column step"),
        ("evaluations.csv", f"{HEAD}\n1,0,x,2\n", "evaluations.csv is damaged"),
        ("evaluations.csv", f"{HEAD}\n1,0\n", "evaluations.csv is damaged"),
    ],
)
def test_a_broken_run_is_left_out_and_reported(tmp_path, name, content, reason):
    write_run(tmp_path, seed=0)
    broken = write_run(tmp_path, seed=1)
    (broken / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = find_runs([tmp_path])
    assert [run.seed for run in found.runs] == ["0"]
    assert found.left_out == ((broken, reason),)


def test_nothing_to_compare_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(UserError, match="There are no runs to compare in"):
        find_runs([tmp_path])
    with pytest.raises(UserError, match="There is no folder .*missing\\.$"):
        find_runs([tmp_path / "missing"])
    (tmp_path / "MsPacman").mkdir()
    with pytest.raises(UserError, match=r"There is no folder .*; did you mean .*/MsPacman\?$"):
        find_runs([tmp_path / "mspackman"])


def test_a_toy_run_is_skipped(tmp_path):
    write_run(tmp_path)
    toy = tmp_path / "toy"
    toy.mkdir()
    (toy / "config.yaml").write_text("task: classification\nsplit: uniform\n")
    (toy / "command.txt").touch()
    (toy / "events.out.tfevents.1").write_bytes(b"")
    found = find_runs([tmp_path])
    assert len(found.runs) == 1
    assert not found.left_out


def test_a_run_that_is_found_twice_or_was_copied_counts_once(tmp_path):
    folder = write_run(tmp_path / "runs")
    copy = tmp_path / "copied" / folder.relative_to(tmp_path / "runs")
    shutil.copytree(folder, copy)
    found = find_runs([tmp_path / "runs", folder, tmp_path / "copied"])
    assert len(found.runs) == 1
    assert found.left_out == ((copy, f"it is a copy of {folder}"),)


def test_of_several_copies_the_longest_is_used(tmp_path):
    half = write_run(tmp_path / "a-backup", games=200)
    whole = write_run(tmp_path / "runs", games=200)
    lines = (half / "episodes.csv").read_text().splitlines(keepends=True)
    (half / "episodes.csv").write_text("".join(lines[:120]))
    (half / "evaluations.csv").unlink()
    found = find_runs([tmp_path])
    assert [run.folder for run in found.runs] == [whole]
    assert found.left_out == ((half, f"it is a copy of {whole}"),)


def test_equal_seeds_under_two_protocols_have_no_note(tmp_path):
    write_run(tmp_path / "one")
    write_run(tmp_path / "two", protocol="sticky", noise=100)
    assert [run.notes for run in find_runs([tmp_path]).runs] == [(), ()]


@pytest.mark.parametrize("top", ["ppo", "results"])
def test_a_moved_run_keeps_its_algorithm(tmp_path, top):
    folder = write_run(tmp_path, algorithm="ppo")
    shutil.move(tmp_path / "ppo", tmp_path / "elsewhere" / top)
    moved = tmp_path / "elsewhere" / top / folder.relative_to(tmp_path / "ppo")
    assert read(moved).algorithm == "ppo"


@pytest.mark.parametrize(("setting", "algorithm"), [("clip_range", "ppo"), ("rms_prop_eps", "a2c")])
def test_a_run_of_an_older_version_has_its_algorithm(tmp_path, setting, algorithm):
    folder = write_run(tmp_path, **{setting: 0.1})
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("experiment: a2c\n", ""))
    assert read(folder).algorithm == algorithm


def test_a_run_of_dqn_is_reported_as_dqn(tmp_path):
    """Even if it has a setting of PPO."""
    write_run(tmp_path, algorithm="dqn", clip_range=0.1)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    heading = title(comparison.algorithm, comparison.protocol, game=comparison.game)
    assert heading == "DQN in MsPacman, classic protocol"


def test_a_stored_study_equals_its_run_folders(tmp_path):
    for variant in ("nature", "coordconv"):
        write_run(tmp_path / "runs", variant, seed=1)
    store_runs(tmp_path / "runs", tmp_path / "docs" / "study", ("episodes", "evaluations"))
    pairs = zip(
        find_runs([tmp_path / "runs"]).runs, find_runs([tmp_path / "docs"]).runs, strict=True
    )
    for before, after in pairs:
        name = before.folder.relative_to(tmp_path / "runs")
        assert after.folder == tmp_path / "docs" / "study" / name
        for array in ("steps", "hours", "returns", "evaluation_steps", "evaluation_returns"):
            assert np.array_equal(getattr(before, array), getattr(after, array))
        assert after.settings == before.settings
        assert (after.seed, after.protocol, after.notes) == (before.seed, before.protocol, ())
    both = find_runs([tmp_path])
    assert len(both.runs) == 2
    assert ["it is a copy of" in reason for _, reason in both.left_out] == [True, True]


def test_a_stored_run_that_cannot_be_used_is_left_out_and_reported(tmp_path):
    for seed in range(2):
        folder = write_run(tmp_path / "runs", seed=seed)
    (folder / "episodes.csv").write_text("step,wall_time\n1,2\n")
    store_runs(tmp_path / "runs", tmp_path / "study", ("episodes", "evaluations"))
    found = find_runs([tmp_path / "study"])
    assert [run.seed for run in found.runs] == ["0"]
    broken = tmp_path / "study" / folder.relative_to(tmp_path / "runs")
    assert found.left_out == ((broken, "episodes.csv has no column episode_return"),)
