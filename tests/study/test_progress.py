"""Progress of runs, estimates of time, and the tables that show them."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from study.runs import ROOT, TOY, write_study

from rl_coordconv.runs.files import last_rows
from rl_coordconv.study.plan import PlannedRun, read_study
from rl_coordconv.study.progress import Estimate, Progress, read_progress
from rl_coordconv.study.table import LiveTable, State, best_runs, cost_table, duration, run_names

A2C_LOG = """step,seconds,rollout/ep_rew_mean,time/iterations
8000,9,250.5,100
16000,17,310,200
"""
TOY_COLUMNS = "step,seconds,updates,train/accuracy,test/accuracy\n"


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    """Two seeds of two variants, 1,016,000 steps each."""
    vary = {"extractor": ["nature", "coordconv"], "seed": [0, 1]}
    fixed = {"experiment": "a2c", "total_timesteps": 1_016_000}
    return read_study(write_study(tmp_path, vary, fixed), ROOT / "configs")


def log(planned: PlannedRun, text: str) -> None:
    planned.run.folder.mkdir(parents=True, exist_ok=True)
    planned.run.progress.write_text(text)


class TestLastRows:
    @pytest.mark.parametrize(
        "text", ["", "a", "a,b\n", "a,b\n1", "a,b\n1,", "a,b\n1\n", "a\n1,2\n"]
    )
    def test_are_empty_without_a_row_that_fits_the_header(self, text, tmp_path):
        (tmp_path / "x.csv").write_text(text)
        assert last_rows(tmp_path / "x.csv") == []
        assert last_rows(tmp_path / "missing.csv") == []

    def test_end_with_the_last_whole_row(self, tmp_path):
        rows = [f"{i},{i * i}\n" for i in range(5000)]
        (tmp_path / "x.csv").write_text("".join(["a,b\n", *rows, "5000,25"]))
        found = last_rows(tmp_path / "x.csv")
        assert found == [{"a": str(i), "b": str(i * i)} for i in range(5000)][-len(found) :]
        assert 10 < len(found) < 5000


def test_progress_is_read_from_the_last_row(runs):
    log(runs[0], A2C_LOG)
    assert read_progress(runs[0]) == Progress(16_000, 1000, 310)
    assert read_progress(runs[1]) == Progress()


def test_a_log_of_an_older_version_is_read(runs):
    header = "rollout/ep_rew_mean,time/time_elapsed,time/total_timesteps"
    log(runs[0], f"{header}\n250,10,8000\n310,20,16000\n")
    assert read_progress(runs[0]) == Progress(16_000, 800, 310)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "a,b\n1,2\n", A2C_LOG.splitlines()[0] + "\n,,,\n"]
)
def test_a_log_without_numbers_has_no_progress(text, runs):
    log(runs[0], text)
    assert read_progress(runs[0]) == Progress()


def test_speed_and_score_are_read_before_a_row_of_an_evaluation(runs):
    log(runs[0], A2C_LOG + "24000,25,,\n")
    assert read_progress(runs[0]) == Progress(24_000, 1000, 310)


def test_the_speed_is_recent(runs):
    slow = [f"{10 * i},{10 * i},1,1\n" for i in range(1000)]
    fast = [f"{10_000 + 100 * i},{10_000 + i},1,1\n" for i in range(1000)]
    log(runs[0], A2C_LOG.splitlines()[0] + "\n" + "".join(slow + fast))
    assert read_progress(runs[0]).speed == 100


@pytest.mark.parametrize("score", ["nan", "NaN"])
def test_a_score_of_nan_is_none(score, runs):
    log(runs[0], A2C_LOG.replace("310", score))
    assert read_progress(runs[0]) == Progress(16_000, 1000, None)


def test_toy_progress_counts_epochs(tmp_path):
    (planned,) = read_study(write_study(tmp_path, {}, TOY), ROOT / "configs")
    log(planned, TOY_COLUMNS + "0,0,0,0,0\n")
    assert read_progress(planned) == Progress(0, None, 0)
    log(planned, TOY_COLUMNS + "4,2,9,0.75,0.5\n")
    assert read_progress(planned) == Progress(4, 2, 0.5)


def test_time_left_is_estimated_from_the_runs_speed_or_else_from_its_variants(runs):
    log(runs[0], A2C_LOG)  # nature, seed 0
    estimate = Estimate(runs)
    assert estimate.seconds_left(runs[0]) == 1000
    assert estimate.seconds_left(runs[1]) == 1016  # nature, seed 1
    assert estimate.seconds_left(runs[2]) is None  # coordconv
    runs[0].run.done.touch()
    assert Estimate(runs).seconds_left(runs[0]) == 0


def test_the_total_time_counts_the_last_batch_in_full(runs):
    for planned in runs[:3]:
        log(planned, "step,seconds\n16000,16\n")
    estimate = Estimate(runs)
    assert estimate.total_seconds(runs[:3], at_once=2) == 2000
    assert estimate.total_seconds(runs[:3], at_once=3) == 1000
    assert estimate.total_seconds(runs, at_once=2) == 1000 + 1016
    runs[2].run.progress.unlink()
    assert Estimate(runs).total_seconds(runs, at_once=2) is None  # coordconv is unknown


def test_the_table_of_costs_lists_runs_and_their_total_time(runs):
    log(runs[0], A2C_LOG)
    log(runs[2], A2C_LOG.replace("17", "25"))
    console = Console(width=100, file=io.StringIO())
    console.print(cost_table(runs, Estimate(runs), at_once=2))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["nature/seed-0", "16,000", "1,016,000", "steps", "0:16:40"] in lines
    assert ["coordconv/seed-1", "0", "1,016,000", "steps", "0:33:52"] in lines
    # 1000 and then 2000 seconds; 1016 and then 2032
    assert "4 runs, 4 unfinished: 0:50:48 with 2 at once" in " ".join(lines[-1])


class TestBestRuns:
    @pytest.fixture
    def plan(self, tmp_path):
        def plan(vary, fixed, *scores):
            """Plan runs, and finish the first ones with the given scores."""
            runs = read_study(write_study(tmp_path, vary, fixed), ROOT / "configs")
            for planned, score in zip(runs, scores, strict=False):
                log(planned, f"step,seconds,{planned.config.score}\n1,1,{score}\n")
                planned.run.done.touch()
            return runs

        return plan

    def test_are_the_five_best(self, plan):
        runs = plan({"learning_rate": [0.1, 0.2, 0.3], "seed": [0, 1]}, TOY, *range(6))
        folders = [planned.run.folder for planned in reversed(runs)][:5]
        lines = [f"{score}  {folder}" for score, folder in zip("54321", folders, strict=True)]
        assert best_runs(runs) == ["Best by test/accuracy:", *lines]

    def test_have_the_lowest_scores_where_lower_is_better(self, plan):
        fixed = {"experiment": "toy", "task": "regression", "model": "conv"}
        runs = plan({"l2": [0.1, 0.2, 0.3]}, fixed, 1.5, 0.75, "nan")
        assert best_runs(runs) == [
            "Best by test/euclidean_pixels:",
            f"0.75  {runs[1].run.folder}",
            f"1.5  {runs[0].run.folder}",
        ]

    def test_are_finished(self, plan):
        runs = plan({"l2": [0.1, 0.2, 0.3]}, TOY, 0.5)
        log(runs[1], A2C_LOG)
        assert best_runs(runs) == ["Best by test/accuracy:", f"0.5  {runs[0].run.folder}"]
        runs[0].run.done.unlink()
        assert best_runs(runs) == []

    def test_are_empty_if_only_the_seed_varies(self, plan):
        assert best_runs(plan({"seed": [0, 1]}, TOY, 1, 2)) == []

    def test_are_empty_for_several_games(self, plan):
        vary = {"env": ["Pong", "MsPacman"], "extractor": ["nature", "coordconv"]}
        runs = plan(vary, {"experiment": "a2c"}, 21, -21, 4000, 3000)
        assert best_runs(runs) == []
        best = best_runs(runs[2:])
        assert best == [
            "Best by rollout/ep_rew_mean:",
            f"4,000  {runs[2].run.folder}",
            f"3,000  {runs[3].run.folder}",
        ]


def test_a_small_terminal_shows_running_and_failed_runs(tmp_path):
    vary = {"seed": list(range(50))}
    many = read_study(write_study(tmp_path, vary, {"experiment": "a2c"}), ROOT / "configs")
    console = Console(width=100, height=10, force_terminal=True, file=io.StringIO())
    with LiveTable(many, console) as table:
        table.mark(many[40], State.RUNNING)
        table.mark(many[45], State.FAILED)
    text = Text.from_ansi(console.file.getvalue()).plain
    assert "seed-40" in text
    assert "seed-45" in text
    assert "seed-30" not in text
    assert "1 running, 1 failed, 48 waiting" in text


@pytest.mark.parametrize("width", [60, 100])
def test_the_live_table_fits_a_terminal_of_14_rows(tmp_path, width):
    vary = {name: [0.001, 0.002, 0.005] for name in ("learning_rate", "l2")}
    fixed = {**TOY, "n_epochs": 10**9}
    runs = read_study(
        write_study(tmp_path, {**vary, "filter_size": [2, 3], "batch_size": [16, 32]}, fixed),
        ROOT / "configs",
    )
    for planned in runs:
        log(planned, TOY_COLUMNS + "0,0,0,0,0\n1000,100,9,0.75,0.123456\n")
    console = Console(width=width, height=14, force_terminal=True, file=io.StringIO())
    with LiveTable(runs, console) as table:
        for planned, state in zip(runs[::5], State, strict=False):
            table.mark(planned, state)
    text = Text.from_ansi(console.file.getvalue()).plain
    lines = text[text.rindex("run ") :].rstrip("\n").splitlines()
    assert len(lines) <= 14 - 4  # leaves room for messages and the prompt
    assert lines[0].split()[0] == "run"
    assert "…" not in text
    assert "running" in lines[1]
    assert "31 waiting" in " ".join(lines[-2:])
    assert " d " in lines[-1]
    assert all(len(line) <= width for line in lines)


def test_the_names_of_runs_leave_out_shared_folder_names(tmp_path):
    vary = {"seed": [0, 1], "split": ["quadrant", "uniform"]}
    fixed = {name: value for name, value in TOY.items() if name != "split"}
    runs = read_study(write_study(tmp_path, vary, fixed), ROOT / "configs")
    assert list(run_names(runs).values()) == [
        f"classification-{split}/seed-{seed}" for seed in vary["seed"] for split in vary["split"]
    ]
    assert list(run_names(runs[:1]).values()) == [str(runs[0].run.folder)]


def test_duration():
    assert duration(None) == ""
    assert duration(-5) == "0:00:00"  # PPO trains to the end of its rollout
    assert duration(90061) == "1 d 1 h"
