"""Tables and figures made from run folders, and the pages in the repository."""

import shutil
from pathlib import Path

import pytest
from figures import missing
from paper_reports import assert_pages_are_up_to_date, cells, write_finished_run
from PIL import Image

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.mnist_detection import train
from rl_coordconv.experiments.mnist_detection.groups import MODELS, group_runs
from rl_coordconv.experiments.mnist_detection.pictures import curves
from rl_coordconv.experiments.mnist_detection.report import REPORT, tables
from rl_coordconv.runs.checkpoint import save_tensors
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.stored import stored_runs
from scripts import run_script

ROOT = Path(__file__).parents[3]
COMMON = {"iou": 0.5, "pair_iou": 0.25, "ap": 0.125, "ap50": 0.5, "ap75": 0.0625, "recall": 0.75}
LOSSES = {"loss": 0.75, "box_loss": 0.25, "score_loss": 0.5, "positive_iou": 0.625}


def write_run(runs: Path, model: str, seed: int = 0, weights: bool = False, **changes) -> Run:
    """Write a finished run folder as training does, with zeros before the last evaluation.

    The weights, if any, are the initial ones.
    """
    names = {*COMMON, *LOSSES}
    metrics = {k: value for k, value in changes.items() if k in names}
    settings = {k: value for k, value in changes.items() if k not in names}
    config = make_config("detection", **settings, model=model, seed=seed, log_dir=str(runs))
    own = {**COMMON, **(LOSSES if config.proposes_only else {}), **metrics}
    last = {f"{config.evaluate_on}/{name}": value for name, value in own.items()}
    last |= {"probe/iou": 0.875, "probe/iou_std": 0.0}
    run = write_finished_run(config, last, epochs=6, seconds=60.4 + seed, updates=1500)
    if weights:
        save_tensors(run.final_weights, _initial_weights(config))
    return run


def _initial_weights(config):
    nothing = train.read_test_canvases(config)[:0]
    return train.make_learner(config, nothing, nothing).model.state_dict()


def made_tables(runs: Path) -> dict[str, list[dict[str, str]]]:
    return cells(tables(group_runs(stored_runs(runs, ["progress"]))))


def test_a_row_has_the_last_evaluation_of_all_seeds_beside_the_papers(tmp_path):
    write_run(tmp_path, "rpn-coordconv", iou=0.25)
    write_run(tmp_path, "rpn-coordconv", seed=1)
    made = made_tables(tmp_path)
    (row,) = made["rpn"]
    assert row == {
        **{"model": "rpn-coordconv", "anchors": "repaired", "preset": "quick", "seeds": "2"},
        **{"IOU": "0.375 (0.250 to 0.500)", "IOU, all pairs": "0.250"},
        **{"IOU of positive boxes": "0.625", "AP": "0.125", "AP50": "0.500", "AP75": "0.062"},
        **{"recall": "0.750", "loss": "0.7500", "loss, paper": "0.3383"},
        **{"box loss": "0.2500", "box loss, paper": "0.0854"},
        **{"score loss": "0.5000", "score loss, paper": "0.2526"},
    }
    (row,) = made["rpn-probe"]
    assert (row["single digits: IOU"], row["seeds"]) == ("0.875", "2")
    assert row["single digits: error of the centre, pixels"] == "-"
    assert not made["faster-rcnn"]


def test_differences_are_between_models_with_equal_settings_and_seeds(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "rpn-conv", seed)
        write_run(tmp_path, "rpn-coordconv", seed, iou=0.625)
    write_run(tmp_path, "rpn-coordconv", 3, iou=1)
    write_run(tmp_path, "rpn-coordconv", anchors="released")
    write_run(tmp_path, "rpn-noise", learning_rate=0.01)
    write_run(tmp_path, "faster-rcnn")
    write_run(tmp_path, "faster-rcnn-zeros", ap=0.25)
    made = made_tables(tmp_path)
    (row,) = made["rpn-differences"]
    assert row["model"] == "rpn-coordconv - rpn-conv"
    assert (row["anchors"], row["seeds"], row["paper: gain"]) == ("repaired", "3", "24%")
    assert row["gain of IOU"] == "+25% (+25% to +25%)"
    assert row["IOU"] == "+0.125 (+0.125 to +0.125)"
    assert row["score loss"] == "+0.0000 (+0.0000 to +0.0000)"
    (row,) = made["faster-rcnn-differences"]
    assert row["model"] == "faster-rcnn-zeros - faster-rcnn"
    assert (row["AP"], row["seeds"], row["paper: gain"]) == ("+0.125", "1", "-")


def test_the_choice_of_the_optimiser_is_made_on_validation_canvases(tmp_path):
    for optimizer, loss in {"sgd": 0.5, "adam": 0.25}.items():
        for part in ("validation", "test"):
            write_run(tmp_path, "rpn-conv", evaluate_on=part, optimizer=optimizer, loss=loss)
    made = made_tables(tmp_path)
    assert [(row["optimiser"], row["validation loss"]) for row in made["choice"]] == [
        ("adam", "0.2500"),
        ("sgd", "0.5000"),
    ]
    assert [row["loss"] for row in made["rpn"]] == ["0.2500", "0.5000"]


def test_a_run_has_its_command_times_device_and_number_of_parameters(tmp_path):
    settings = {"anchors": "released", "optimizer": "sgd", "evaluate_on": "validation"}
    write_run(tmp_path, "rpn-conv", preset="paper", **settings, seed=3)
    write_run(tmp_path, "rpn-conv", preset="paper", **settings, seed=10)
    (row,) = made_tables(tmp_path)["detection-runs"]
    assert row["command"] == (
        "`python scripts/train_detection.py --model rpn-conv --preset paper --anchors released"
        " --evaluate-on validation --optimizer sgd --seed 3`"
    )
    assert (row["seconds"], row["parameters"]) == ("67 (63 to 70) on cpu", "81,590")


def test_rows_are_in_the_order_of_models_and_the_authors_anchors_come_first(tmp_path):
    for model in reversed(MODELS):
        write_run(tmp_path, model)
    write_run(tmp_path, "rpn-noise", anchors="released")
    write_run(tmp_path, "rpn-conv", preset="paper")
    rows = [(row["model"], row["anchors"]) for row in made_tables(tmp_path)["detection-runs"]]
    assert rows == [
        ("rpn-conv", "repaired"),
        ("rpn-noise", "released"),
        *((model, "repaired" if model.startswith("rpn") else "-") for model in MODELS),
    ]


def test_the_curves_have_a_line_per_seed_and_a_panel_per_kind(tmp_path):
    for model in ("rpn-conv", "faster-rcnn-coordconv-heads"):
        write_run(tmp_path, model)
        write_run(tmp_path, model, seed=1)
    figure = curves(group_runs(stored_runs(tmp_path)))
    assert not missing(figure)
    titles = {axes.get_title(): len(axes.lines) for axes in figure.axes}
    assert titles == {"repaired anchors, quick preset": 2, "Faster R-CNN, quick preset": 2}


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a copy of the pages, without stored runs."""
    folder = tmp_path / "docs"
    for name in ("detection.md", "results/detection/README.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "docs" / name, folder / name)
    return folder


def test_the_script_stores_runs_and_draws_them(docs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "N_TEST", 9)
    small = {"canvas": 40, "n_digits": 2, "weights": True}
    write_run(tmp_path / "runs", "rpn-conv", **small)
    write_run(tmp_path / "runs", "rpn-coordconv", **small)
    assert run_script("report_paper", "detection", tmp_path / "runs", "--docs", docs) == 0
    stored = docs / "results" / "detection"
    drawn = {path.name for path in stored.glob("*.png")}
    assert drawn == {"iou.png", "places.png", "detections.png"}
    for name in drawn:
        assert len(Image.open(stored / name).convert("RGB").getcolors(2**20)) > 100  # not blank
    text = (docs / "detection.md").read_text()
    assert "rpn-coordconv, canvas 40, n digits 2 - rpn-conv | repaired" in text
    assert "learning rate" in (stored / "README.md").read_text()


def test_the_pages_in_the_repository_are_up_to_date(tmp_path):
    assert_pages_are_up_to_date(REPORT, tmp_path)
