"""Test training of the detectors through the script's main."""

import csv
import signal
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.experiments.mnist_detection import proposal_learner, train
from rl_coordconv.experiments.mnist_detection.config import DetectionConfig
from rl_coordconv.experiments.mnist_detection.learner import DetectionLearner
from rl_coordconv.experiments.mnist_detection.names import DetectionModel
from rl_coordconv.runs import extras
from rl_coordconv.runs.folder import Run
from scripts import mistake, run_script

ROOT = Path(__file__).parents[3]
TINY = "--canvas 40 --n-digits 2 --n-images 16 --batch-size 4 --n-epochs 2 --num-threads 1"


@pytest.fixture(autouse=True)
def _few_test_canvases(monkeypatch):
    monkeypatch.setattr(train, "N_TEST", 9)


def main(folder: Path, flags: str = "") -> int:
    own = ["--log-dir", folder, "--device", "cpu", *flags.split()]
    return run_script("train_detection", *TINY.split(), *own)


def run_main(folder: Path, flags: str = "") -> Run:
    assert main(folder, flags) == 0
    (config,) = folder.rglob("config.yaml")
    return Run(config.parent)


def rows(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


MODELS = [
    "rpn-coordconv --anchors released",
    pytest.param("faster-rcnn", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("flags", MODELS)
def test_a_run_shows_what_it_learned(flags, tmp_path, capsys):
    run = run_main(tmp_path, f"--model {flags}")
    model = flags.split()[0]
    is_rpn = model == "rpn-coordconv"
    assert run.folder.parts[-4:-1] == (
        *("detection", "proposals-released" if is_rpn else "digits"),
        f"{model}-quick-n_images-16-canvas-40-n_digits-2-batch_size-4",
    )
    assert [row["updates"] for row in rows(run)] == ["0", "4", "8"]
    assert {path.name for path in run.figures.iterdir()} == {"detections.png", "places.png"}
    for picture in run.figures.iterdir():
        assert len(Image.open(picture).convert("RGB").getcolors(2**20)) > 100  # not blank

    config = DetectionConfig.model_validate(yaml.safe_load(run.config.read_text()))
    weights = torch.load(run.final_weights, weights_only=True)
    loaded = train.load_model(config, run).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())

    events = EventAccumulator(str(run.folder)).Reload()
    assert [image.step for image in events.Images("test/images")] == [0, 1, 2]
    logged = {*events.Tags()["scalars"]}
    assert {"train/loss", "test/iou", "test/pair_iou", "test/ap", "test/recall"} <= logged
    losses = {"test/loss", "test/box_loss", "test/score_loss", "test/positive_iou"}
    assert losses & logged == (losses if is_rpn else set())

    out = capsys.readouterr().out
    assert "Training takes about" in out
    assert ("│ 0.0854" in out) == ("24% above rpn-conv" in out) == is_rpn
    other = "rpn-conv" if is_rpn else "faster-rcnn-coordconv"
    (command,) = [line for line in out.splitlines() if line.startswith("compare")]
    assert command.endswith(f" --batch-size 4 --log-dir {tmp_path}")
    assert f"--model {other} --preset quick --anchors {config.anchors} --n-images 16" in command


@pytest.mark.gpu
@pytest.mark.parametrize("model", get_args(DetectionModel))
def test_every_model_trains_on_a_gpu(model, tmp_path, cuda):
    assert run_main(tmp_path, f"--model {model} --device {cuda}").is_finished


@pytest.mark.gpu
def test_captured_updates_equal_eager_ones(tmp_path, cuda, monkeypatch):
    """With the same random numbers, as both are on the same device.

    Some gradients on a GPU are sums in no fixed order, so two equal trainings differ too.
    """
    losses = []
    for name in ("captured", "eager"):
        run = run_main(tmp_path / name, f"--device {cuda} --n-images 64")
        losses.append({k: float(x) for k, x in rows(run)[-1].items() if k.startswith("train/")})
        monkeypatch.setattr(proposal_learner, "Captured", lambda step: step)
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize("flags", MODELS)
def test_a_resumed_run_equals_an_uninterrupted_one(flags, tmp_path, monkeypatch):
    """Stop in the middle of the second epoch."""
    flags = f"--model {flags}"
    whole = run_main(tmp_path / "whole", flags)
    update = DetectionLearner.update

    def interrupted(self, number):
        if number == 6:
            signal.raise_signal(signal.SIGINT)
        return update(self, number)

    monkeypatch.setattr(DetectionLearner, "update", interrupted)
    assert main(tmp_path / "parts", flags) == 128 + signal.SIGINT
    monkeypatch.setattr(DetectionLearner, "update", update)
    parts = run_main(tmp_path / "parts", flags)

    weights = [torch.load(r.final_weights, weights_only=True) for r in (whole, parts)]
    for key in weights[0]:
        assert torch.equal(weights[0][key], weights[1][key]), key
    assert rows(whole) == rows(parts)
    for figure in whole.figures.iterdir():
        assert figure.read_bytes() == (parts.figures / figure.name).read_bytes()


def fails(folder: Path, flags: str, capsys) -> str:
    """Return the sentence of a mistake, which leaves no run folder."""
    own = [*TINY.split(), "--log-dir", folder / "runs", "--device", "cpu", *flags.split()]
    error = mistake(capsys, "train_detection", *own)
    assert not (folder / "runs").exists()
    return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model rpn-cordconv", "--model must be 'rpn-conv', 'rpn-coordconv'"),
        ("--anchors released --model faster-rcnn", "--model faster-rcnn has its own anchors; "),
        ("--preset fast", "There is no preset 'fast'; there are: paper, quick."),
        ("--canvas 24", "A canvas of 24 pixels is too small; choose at least 25."),
        ("--canvas 42 --model faster-rcnn", "--canvas 42 must be a multiple of 4"),
        ("--n-digits 9", "A canvas of 40 pixels has space for 4 digits, not 9."),
        ("--n-images 2", "--n-images 2 must be at least --batch-size 4."),
        (
            "--digits torchvision",
            "--digits torchvision needs a folder in --data, and only it does.",
        ),
        ("--data here", "--digits torchvision needs a folder in --data, and only it does."),
        ("--data $NOWHERE", "--data $NOWHERE: the environment variable $NOWHERE is not set."),
    ],
)
def test_a_mistake_is_a_one_sentence_error(flags, message, tmp_path, capsys):
    assert fails(tmp_path, flags, capsys).startswith(message)


def test_a_missing_extra_is_a_one_sentence_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert "pip install 'rl_coordconv[vision]'." in fails(tmp_path, "", capsys)


def test_digits_that_cannot_be_read_are_a_one_sentence_error(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    error = fails(tmp_path, f"--digits torchvision --data {tmp_path / 'file'}", capsys)
    assert error.startswith("MNIST cannot be read from the folder")
