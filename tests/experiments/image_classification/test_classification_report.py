"""Tables and figures made from run folders, and the pages in the repository."""

import shutil
from pathlib import Path

import pytest
from figures import missing
from paper_reports import assert_pages_are_up_to_date, cells, write_finished_run
from PIL import Image

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.image_classification.groups import MODELS, group_runs
from rl_coordconv.experiments.image_classification.pictures import figures
from rl_coordconv.experiments.image_classification.report import REPORT, tables
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.stored import stored_runs
from scripts import run_script

ROOT = Path(__file__).parents[3]
SCORES = {"val/top1": 0.5, "val/top5": 1, "val/loss": 0.75, "train/top1": 0.625}
SHIFTED = {f"shifted/top1_{pixels}": 0.5 - pixels / 32 for pixels in (1, 2, 4, 6, 8)}


def write_run(runs: Path, model: str, seed: int = 0, top1: float = 0.5, **settings) -> Run:
    """Write a finished run folder as training does, with zeros before the last evaluation."""
    config = make_config("classification", **settings, model=model, seed=seed, log_dir=str(runs))
    last = {**SCORES, "val/top1": top1, **SHIFTED}
    return write_finished_run(config, last, epochs=8, seconds=30 + seed, updates=496)


def made_tables(runs: Path) -> dict[str, list[dict[str, str]]]:
    return cells(tables(group_runs(stored_runs(runs, ["progress"]))))


def test_a_row_has_the_last_evaluation_of_all_seeds(tmp_path):
    write_run(tmp_path, "coordconv", top1=0.25, data="digits")
    write_run(tmp_path, "coordconv", seed=1, data="digits")
    made = made_tables(tmp_path)
    (row,) = made["classification"]
    assert row == {
        "task": "digits, shufflenet_v2_x0_5, quick preset",
        "model": "coordconv",
        "top-1 accuracy": "37.5% (25.0% to 50.0%)",
        "top-5 accuracy": "100.0%",
        "loss": "0.7500",
        "top-1 accuracy in training": "62.5%",
        "top-1 accuracy, shifted by 1": "46.9%",
        "top-1 accuracy, shifted by 2": "43.8%",
        "top-1 accuracy, shifted by 4": "37.5%",
        "top-1 accuracy, shifted by 6": "31.2%",
        "top-1 accuracy, shifted by 8": "25.0%",
        "seeds": "2",
    }
    (row,) = made["classification-runs"]
    assert row["command"] == (
        "`python scripts/train_classification.py --model coordconv --data digits`"
    )
    assert row["seconds"] == "30 (30 to 31) on cpu"
    assert not made["classification-differences"]


def test_differences_are_from_plain_with_equal_settings_and_seeds(tmp_path):
    for seed, gain in enumerate((0.125, 0.25, 0.375)):
        write_run(tmp_path, "plain", seed, data="digits")
        write_run(tmp_path, "coordconv", seed, top1=0.5 + gain, data="digits")
    write_run(tmp_path, "plain", 3, data="digits")
    write_run(tmp_path, "conv", learning_rate=0.1)
    write_run(tmp_path, "coordconv-noise", data="bars")
    (row,) = made_tables(tmp_path)["classification-differences"]
    assert row["model"] == "coordconv - plain"
    assert row["top-1 accuracy, points"] == "+25.0 (-6.1 to +56.1)"  # 4.303 x 12.5 / sqrt(3) = 31.1
    assert row["top-1 accuracy, p"] == "0.074 / 0.074"
    assert row["top-5 accuracy, points"] == "+0.0 (+0.0 to +0.0)"
    assert row["top-1 accuracy, shifted by 4, points"] == "+0.0 (+0.0 to +0.0)"
    assert row["paper: top-5 on ImageNet"] == "+0.04% (p = 0.11, one-sided)"
    assert row["seeds"] == "3"


def test_rows_are_in_the_order_of_models_and_the_papers_size_comes_first(tmp_path):
    for model in reversed(MODELS):
        write_run(tmp_path, model)
    write_run(tmp_path, "coordconv", preset="paper", data="digits")
    write_run(tmp_path, "plain", data="bars")
    rows = [
        (row["task"].split(", ")[0], row["model"])
        for row in made_tables(tmp_path)["classification"]
    ]
    assert rows == [
        ("digits", "coordconv"),
        ("bars", "plain"),
        *(("quadrants", model) for model in MODELS),
    ]


def test_the_figures_have_a_panel_per_task_and_a_mark_per_seed(tmp_path):
    for model in ("plain", "coordconv"):
        write_run(tmp_path, model)
        write_run(tmp_path, model, seed=1)
    write_run(tmp_path, "plain", data="bars")
    drawn = figures(group_runs(stored_runs(tmp_path)))
    assert not missing(drawn["shifts"])
    assert [len(axes.lines) for axes in drawn["shifts"].axes] == [1]  # not of quadrants
    bars, quadrants = drawn["accuracy"].axes
    assert bars.get_title() == "bars, shufflenet_v2_x0_5, quick preset"
    dots = [line for line in quadrants.lines if len(line.get_xdata()) == 2]
    assert [line.get_ydata().tolist() for line in dots] == [[0.5, 0.5]] * 2


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a copy of the pages, without stored runs."""
    folder = tmp_path / "docs"
    for name in ("classification.md", "results/classification/README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "docs" / name, folder / name)
    return folder


def test_the_script_stores_runs_and_draws_them(docs, tmp_path):
    write_run(tmp_path / "runs", "plain", data="bars")
    write_run(tmp_path / "runs", "coordconv", data="bars")
    assert run_script("report_paper", "classification", tmp_path / "runs", "--docs", docs) == 0
    stored = docs / "results" / "classification"
    for name in ("accuracy.png", "shifts.png"):
        assert len(Image.open(stored / name).convert("RGB").getcolors(2**20)) > 50  # not blank
    assert "| bars, shufflenet_v2_x0_5, quick preset |" in (docs / "classification.md").read_text()


def test_the_pages_in_the_repository_are_up_to_date(tmp_path):
    assert_pages_are_up_to_date(REPORT, tmp_path)
