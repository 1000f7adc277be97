"""How far runs are, and what is shown of it."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from study.runs import ROOT, TOY, write_study

from rl_coordconv.runs.folder import last_values
from rl_coordconv.study.plan import Job, read_study
from rl_coordconv.study.progress import Estimate, Progress, read_progress
from rl_coordconv.study.table import LiveTable, State, cost_table, duration

A2C_LOG = """time/iterations,rollout/ep_rew_mean,time/total_timesteps,time/steps_per_second
100,250.5,8000,900
200,310,16000,1000
"""


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two seeds of two arms, 1,016,000 steps each."""
    vary = {"extractor": ["nature", "coordconv"], "seed": [0, 1]}
    fixed = {"experiment": "a2c", "total_timesteps": 1_016_000}
    return read_study(write_study(tmp_path, vary, fixed), ROOT / "configs")


def log(job: Job, text: str) -> None:
    job.run.folder.mkdir(parents=True, exist_ok=True)
    job.run.progress.write_text(text)


class TestLastValues:
    @pytest.mark.parametrize(
        "text", ["", "a", "a,b\n", "a,b\n1", "a,b\n1,", "a,b\n1\n", "a\n1,2\n"]
    )
    def test_are_none_where_there_is_no_row_that_fits(self, text, tmp_path):
        (tmp_path / "x.csv").write_text(text)
        assert last_values(tmp_path / "x.csv") == {}
        assert last_values(tmp_path / "missing.csv") == {}

    def test_are_those_of_the_last_whole_row(self, tmp_path):
        rows = [f"{i},{i * i}\n" for i in range(5000)]
        (tmp_path / "x.csv").write_text("".join(["a,b\n", *rows, "5000,25"]))
        assert last_values(tmp_path / "x.csv") == {"a": "4999", "b": str(4999 * 4999)}

    def test_are_each_columns_own(self, tmp_path):
        """As the row of an evaluation has no speed, and the other rows no evaluation."""
        (tmp_path / "x.csv").write_text("step,speed,score\n1,10,\n2,20,\n3,,7\n")
        assert last_values(tmp_path / "x.csv") == {"step": "3", "speed": "20", "score": "7"}


def test_progress_is_that_of_the_last_row(jobs):
    log(jobs[0], A2C_LOG)
    assert read_progress(jobs[0]) == Progress(16_000, 1000, 310)
    assert read_progress(jobs[1]) == Progress()


@pytest.mark.parametrize(
    "text", ["", "nonsense", "a,b\n1,2\n", A2C_LOG.splitlines()[0] + "\n,,,\n"]
)
def test_a_log_without_numbers_is_no_progress(text, jobs):
    log(jobs[0], text)
    assert read_progress(jobs[0]) == Progress()


def test_an_evaluation_hides_neither_speed_nor_score(jobs):
    log(jobs[0], A2C_LOG + ",,24000,\n")
    assert read_progress(jobs[0]) == Progress(24_000, 1000, 310)


def test_toy_progress_counts_epochs(tmp_path):
    (job,) = read_study(write_study(tmp_path, {}, TOY), ROOT / "configs")
    log(job, "epoch,updates,seconds,train_accuracy,test_accuracy\n0,0,0,0,0\n")
    assert read_progress(job).step == 0
    log(job, "epoch,updates,seconds,train_accuracy,test_accuracy\n4,9,2,0.75,0.5\n")
    assert read_progress(job) == Progress(4, 2, 0.5)


def test_time_left_is_by_the_runs_own_speed_or_by_that_of_its_arm(jobs):
    log(jobs[0], A2C_LOG)  # nature, seed 0
    estimate = Estimate(jobs)
    assert estimate.seconds_left(jobs[0]) == 1000
    assert estimate.seconds_left(jobs[1]) == 1016  # nature, seed 1
    assert estimate.seconds_left(jobs[2]) is None  # coordconv
    jobs[0].run.done.touch()
    assert Estimate(jobs).seconds_left(jobs[0]) == 0


def test_the_cost_of_a_study_is_that_of_its_runs(jobs):
    log(jobs[0], A2C_LOG)
    log(jobs[2], A2C_LOG.replace("1000", "500"))
    console = Console(width=100, file=io.StringIO())
    console.print(cost_table(jobs, Estimate(jobs), at_once=2))
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["nature/seed-0", "16,000", "1,016,000", "steps", "0:16:40"] in lines
    assert ["coordconv/seed-1", "0", "1,016,000", "steps", "0:33:52"] in lines
    # (1000 + 1016 + 2000 + 2032) / 2 seconds
    assert "0:50:24 with 2 at once" in " ".join(lines[-1])


def test_a_full_screen_shows_what_runs_and_what_failed(tmp_path):
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


def test_duration():
    assert duration(None) == ""
    assert duration(-5) == "0:00:00"  # PPO goes on to the end of its rollout
    assert duration(90061) == "1 day, 1:01:01"
