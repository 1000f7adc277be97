"""Test tables made from run folders, and the page in the repository."""

from pathlib import Path

import pytest
import yaml
from figures import missing
from paper_reports import assert_pages_are_up_to_date

from rl_coordconv.experiments.not_so_clevr import report
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.models import MODELS
from rl_coordconv.experiments.not_so_clevr.report import (
    REPORT,
    curves,
    first_touch,
    ratio_table,
    read_groups,
    results_table,
    summary_table,
    touch_table,
)
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.stored import store_runs
from scripts import run_script

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs" / "toy"
COLUMNS = "step,updates,seconds,train/accuracy,test/accuracy"


def write_run(runs: Path, *evaluations: tuple, finished: bool = True, **flags) -> ToyConfig:
    """Write a run folder as training does, with the given evaluations."""
    chosen = {k: v for k, v in flags.items() if k in ("task", "split", "model", "preset")}
    flags["log_dir"] = str(runs)
    config = ToyConfig.load(ToyConfig.find_defaults(CONFIGS, chosen), flags)
    run = Run(config.folder)
    run.folder.mkdir(parents=True)
    run.config.write_text(yaml.safe_dump(config.model_dump()))
    run.versions.write_text("{}")
    rows = [",".join(map(str, row)) for row in evaluations]
    run.progress.write_text("\n".join([COLUMNS, *rows, ""]))
    if finished:
        run.done.touch()
    return config


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """CoordConv reaches 100% after 10 and 30 seconds, the deconvolution 80% after 200."""
    write_run(tmp_path, (0, 0, 0, 0, 0), (1, 100, 10, 1, 1), (2, 200, 20, 1, 0.5), seed=0)
    write_run(
        tmp_path, (0, 0, 0, 0, 0), (1, 100, 15, 1, 0.9), (2, 200, 30, 1, 1), seed=1, save_freq=1
    )
    write_run(tmp_path, (0, 0, 0, 0, 0), (9, 900, 200, 1, 0.8), model="deconv")
    return tmp_path


def test_results_are_from_the_last_evaluation_over_all_seeds(runs):
    deconv, coordconv = results_table(read_groups(runs, CONFIGS)).splitlines()[2:]
    assert coordconv == (
        "| classification | quadrant | coordconv, raw | 100% | 100.0% | 100%"
        " | 75.0% (50.0% to 100.0%) | 200 | 25 (20 to 30) | 7,553 | 2 |"
    )
    assert "| about 0% | 80.0% | 900 | 200 | 46,465 | 1 |" in deconv


def test_first_time_at_the_goal_and_last_epoch_are_separate(runs):
    deconv, coordconv = touch_table(read_groups(runs, CONFIGS), "classification").splitlines()[2:]
    assert coordconv == (
        "| quadrant | coordconv, raw | epoch 1 (10 s); epoch 1 (15 s)"
        " | epoch 1 (10 s); epoch 2 (30 s) | 100.0% | 75.0% (50.0% to 100.0%) |"
    )
    assert "epoch 9 (200 s) | - | 80.0% | 80.0% |" in deconv


def test_the_ratio_is_of_means_over_seeds(runs):
    """200 seconds to (10 + 30) / 2, and 900 updates to (100 + 200) / 2."""
    (row,) = ratio_table(read_groups(runs, CONFIGS)).splitlines()[2:]
    assert row == "| quadrant | deconv, raw | coordconv, raw | 10.0 | 6.0 | - |"


def test_the_ratio_is_a_lower_bound_if_a_deconvolution_never_reached_80_percent(tmp_path):
    write_run(tmp_path, (1, 100, 10, 1, 1))
    write_run(tmp_path, (9, 900, 200, 1, 0.7), model="deconv")
    (row,) = ratio_table(read_groups(tmp_path, CONFIGS)).splitlines()[2:]
    assert row == "| quadrant | deconv, raw | coordconv, raw | over 20.0 | over 9.0 | - |"


def test_there_is_no_ratio_if_coordconv_never_reached_100_percent(tmp_path):
    write_run(tmp_path, (1, 100, 10, 1, 0.9))
    write_run(tmp_path, (9, 900, 200, 1, 0.7), model="deconv")
    (row,) = ratio_table(read_groups(tmp_path, CONFIGS)).splitlines()[2:]
    assert row == "| quadrant | deconv, raw | coordconv, raw | - | - | - |"
    deconv, _ = read_groups(tmp_path, CONFIGS)
    assert first_touch(deconv.results, 1.0) == "-"


def test_for_regression_the_lowest_score_is_the_best(tmp_path):
    config = write_run(tmp_path, task="regression")
    columns = COLUMNS.replace("accuracy", "euclidean_pixels")
    Run(config.folder).progress.write_text(f"{columns}\n0,0,0,9,9\n1,1,1,2,3\n2,2,2,5,6\n")
    (group,) = read_groups(tmp_path, CONFIGS)
    (result,) = group.results
    assert result.best_test == 3
    assert result.first_test(4)["step"] == 1
    table = touch_table([group], "regression")
    assert table.splitlines()[2] == "| quadrant | coordconv | - | 3.00 | 6.00 |"


def test_a_command_has_the_flags_that_differ_from_the_preset(tmp_path):
    write_run(tmp_path, (1, 1, 1, 1, 1), model="deconv", n_epochs=450, channels=2, seed=2)
    (group,) = read_groups(tmp_path, CONFIGS)
    assert group.command == (
        "python scripts/train_toy.py --task classification --split quadrant --model deconv"
        " --n-epochs 450 --channels 2 --seed 2"
    )


def test_rows_with_different_settings_have_different_names(tmp_path):
    write_run(tmp_path, (1, 1, 1, 1, 1))
    write_run(tmp_path / "slow", (1, 1, 1, 1, 1), learning_rate=0.001)
    write_run(tmp_path / "quick", (1, 1, 1, 1, 1), preset="quick")
    labels = [
        row.split(" | ")[2] for row in results_table(read_groups(tmp_path, CONFIGS)).splitlines()
    ]
    assert sorted(labels[2:-1]) == ["coordconv, raw", "coordconv, raw, learning rate 0.001"]
    assert labels[-1] == "coordconv, normalised, quick"


def test_saved_results_give_the_same_groups_as_run_folders(runs, tmp_path_factory):
    write_run(runs, (0, 0, 0, 0, 0), seed=7, finished=False)
    stored = tmp_path_factory.mktemp("stored")
    store_runs(runs, stored, ["progress"])
    from_stored, (deconv, coordconv) = (read_groups(folder, CONFIGS) for folder in (stored, runs))
    assert [len(group.results) for group in from_stored] == [1, 2]
    assert from_stored[0].results[0].rows == deconv.results[0].rows
    finished = [result for result in coordconv.results if result.config.seed != 7]
    assert [r.rows for r in from_stored[1].results] == [r.rows for r in finished]


def test_the_summary_has_the_best_setting_of_three_seeds(tmp_path):
    for seed, (score, other) in enumerate([(0.4, 1), (0.5, 0), (0.6, 0)]):
        write_run(tmp_path, (1, 1, 1, 1, score), model="deconv", seed=seed)
        write_run(tmp_path, (1, 1, 1, 1, other), model="deconv", seed=seed, learning_rate=0.1)
    write_run(tmp_path, (1, 1, 1, 1, 1))
    rows = summary_table(read_groups(tmp_path, CONFIGS)).splitlines()[2:]
    assert len(rows) == 6
    assert rows[1] == (
        "| classification (accuracy) | quadrant | about 0% | 50.0% (40.0% to 60.0%) | 100% | -"
        " | - | - |"
    )


def test_the_pages_in_the_repository_are_up_to_date(tmp_path):
    assert_pages_are_up_to_date(REPORT, tmp_path)


def test_the_curves_have_a_legend(runs):
    figure = curves(read_groups(runs, CONFIGS), "classification")
    assert not missing(figure)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "one line per seed"


def test_the_script_fills_the_pages_and_draws_the_curves(runs, tmp_path):
    docs = tmp_path / "docs"
    pages = {"summary": docs / "toy.md", "results": docs / "results" / "toy" / "README.md"}
    pages["results"].parent.mkdir(parents=True)
    for table, page in pages.items():
        page.write_text(f"# Page\n<!-- {table} -->\nold\n<!-- end -->\nThe end.\n")
    assert run_script("report_paper", "toy", runs, "--docs", docs) == 0
    for table, page in pages.items():
        text = page.read_text()
        assert text.startswith(f"# Page\n<!-- {table} -->\n| task |")
        assert text.endswith("<!-- end -->\nThe end.\n")
        assert "old" not in text
    assert (docs / "results" / "toy" / "classification.png").stat().st_size > 1000


def test_the_models_of_a_toy_task_have_different_colours():
    assert report._COLOURS.keys() == {model for models in MODELS.values() for model in models}
    for models in MODELS.values():
        assert len({report._COLOURS[model] for model in models}) == len(models)


def test_runs_of_the_first_version_are_read(tmp_path):
    config = write_run(tmp_path, (1, 1, 1, 1, 1))
    columns = "epoch,updates,seconds,loss,learning_rate,train_accuracy,test_accuracy"
    Run(config.folder).progress.write_text(f"{columns}\n2,8,1.5,0.1,0.01,1,0.5\n")
    ((result,),) = (group.results for group in read_groups(tmp_path, CONFIGS))
    assert result.last == {
        "step": 2,
        "updates": 8,
        "seconds": 1.5,
        "train/loss": 0.1,
        "train/learning_rate": 0.01,
        "train/accuracy": 1,
        "test/accuracy": 0.5,
    }
