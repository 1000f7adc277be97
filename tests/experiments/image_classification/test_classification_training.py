"""Training of the classifiers through the script's main."""

import csv
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
import torchvision
import yaml
from classification_pictures import MODES, make_tree
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.image_classification import models, small_data, train
from rl_coordconv.experiments.image_classification.config import ClassificationConfig
from rl_coordconv.experiments.image_classification.datasets import read_splits
from rl_coordconv.experiments.image_classification.learner import ClassificationLearner
from rl_coordconv.experiments.image_classification.names import DataSource
from rl_coordconv.experiments.image_classification.train import _QUICK_BACKBONE, _QUICK_SECONDS
from rl_coordconv.runs import extras
from rl_coordconv.runs.folder import Run
from scripts import SCRIPTS, mistake, run_script

TINY = "--n-epochs 2 --batch-size 3 --num-threads 1 --device cpu"
CPU = torch.device("cpu")


class Equivariant(nn.Sequential):
    """A network that cannot know places: it has circular padding and averages over them."""

    def __init__(self, name: str, n_classes: int, weights: str = "") -> None:
        super().__init__(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, padding_mode="circular"),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, padding_mode="circular"),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, n_classes),
        )


@pytest.fixture(autouse=True)
def _few_images(monkeypatch):
    monkeypatch.setattr(small_data, "_NUMBERS", {"train": 12, "val": 5})


@pytest.fixture
def small_network(monkeypatch):
    monkeypatch.setattr(models, "make_backbone", Equivariant)


def main(folder: Path, *flags: object) -> int:
    return run_script("train_classification", *TINY.split(), "--log-dir", folder, *flags)


def run_main(folder: Path, *flags: object) -> Run:
    assert main(folder, *flags) == 0
    (config,) = folder.rglob("config.yaml")
    return Run(config.parent)


def rows(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_a_run_shows_what_it_learned(small_network, tmp_path, capsys):
    run = run_main(tmp_path, "--data", "bars", "--model", "coordconv", "--shift", 2)
    assert run.folder.parts[-4:-1] == (
        *("classification", "bars-shufflenet_v2_x0_5"),
        "coordconv-quick-shift-2-batch_size-3",
    )
    evaluations = rows(run)
    assert [row["updates"] for row in evaluations] == ["0", "4", "8"]
    shifted = [name for name in evaluations[0] if name.startswith("shifted/")]
    assert shifted == [f"shifted/top1_{pixels}" for pixels in (1, 2, 4, 6, 8)]
    assert [bool(row[shifted[0]]) for row in evaluations] == [False, False, True]
    assert float(evaluations[2]["train/learning_rate"]) == pytest.approx(0.001)  # a tenth
    drawn = {path.name for path in run.figures.iterdir()}
    assert drawn == {"shifts.png", "mistakes.png", "front.png"}
    for picture in run.figures.iterdir():
        assert len(Image.open(picture).convert("RGB").getcolors(2**20)) > 50  # not blank

    events = EventAccumulator(str(run.folder)).Reload()
    assert [image.step for image in events.Images("val/mistakes")] == [0, 1, 2]
    scalars = {"train/loss", "train/learning_rate", "val/top1", "val/top5", "val/loss"}
    assert scalars | {"front/i", "front/j", "front/r"} <= {*events.Tags()["scalars"]}

    out = capsys.readouterr().out
    (command,) = [line for line in out.splitlines() if line.startswith("compare")]
    assert "--model plain --preset quick --data bars" in command
    assert command.endswith(f"--shift 2 --batch-size 3 --log-dir {tmp_path}")


def test_the_printed_time_is_that_of_the_quick_preset():
    quick = make_config("classification")
    assert quick.backbone == _QUICK_BACKBONE
    assert quick.data in _QUICK_SECONDS
    assert set(_QUICK_SECONDS) < set(get_args(DataSource))


def test_the_weights_of_a_run_fit_torchvisions_network(tmp_path):
    run = run_main(tmp_path, "--model", "plain", "--n-epochs", 1)
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=4)
    weights = torch.load(run.final_weights, weights_only=True)
    network.load_state_dict(weights)
    config = ClassificationConfig.model_validate(yaml.safe_load(run.config.read_text()))
    loaded = train.load_model(config, run).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("data", ["bars", "folder"])
def test_a_resumed_run_equals_an_uninterrupted_one(small_network, data, tmp_path, monkeypatch):
    """Stop in the middle of the second epoch."""
    place = make_tree(tmp_path / "pictures", per_class=6, modes=MODES) if data == "folder" else data
    flags = ["--data", place, "--size", 32, "--shift", 2]
    whole = run_main(tmp_path / "whole", *flags)
    update = ClassificationLearner.update

    def interrupted(self, number):
        if number == 6:
            signal.raise_signal(signal.SIGINT)
        return update(self, number)

    monkeypatch.setattr(ClassificationLearner, "update", interrupted)
    assert main(tmp_path / "parts", *flags) == 128 + signal.SIGINT
    monkeypatch.setattr(ClassificationLearner, "update", update)
    parts = run_main(tmp_path / "parts", *flags)
    weights = [torch.load(r.final_weights, weights_only=True) for r in (whole, parts)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert rows(whole) == rows(parts)


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path):
    """With a network without batch normalisation, whose statistics are those of each process."""
    pytest.importorskip("timm")
    script = SCRIPTS / "train_classification.py"
    flags = "--backbone test_convnext --data digits --n-epochs 1 --batch-size 96 --shift 0"
    words = [script, *flags.split(), *["--num-threads", "1", "--device", "cpu"], "--log-dir"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launcher, folder in (([], "one"), (torchrun, "two")):
        subprocess.run([sys.executable, *launcher, *words, tmp_path / folder], check=True)
    one, two = (Run(next(tmp_path.glob(f"{n}/**/config.yaml")).parent) for n in ("one", "two"))
    weights = [torch.load(run.final_weights, weights_only=True) for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-4)
    for row, expected in zip(rows(two), rows(one), strict=True):
        for name in ("train/loss", "val/loss", "val/top1", "shifted/top1_4"):
            assert float(row[name] or 0) == pytest.approx(float(expected[name] or 0), abs=0.01)


@pytest.mark.parametrize("tree", [{"per_class": 6}, {"classes": ("cat", "zebra")}, {}])
def test_processes_must_find_the_same_pictures(tree, small_network, tmp_path, monkeypatch, capsys):
    here, there = (str(tmp_path / name) for name in ("here", "there"))
    make_tree(Path(here))
    make_tree(Path(there), **tree)
    splits = read_splits(there, 32)
    checksums = [splits.train.checksum(), splits.val.checksum()]
    both = SimpleNamespace(gathered=lambda own: [own, checksums])
    monkeypatch.setattr(train, "distributed", both)
    flags = *TINY.split(), "--log-dir", tmp_path, "--data", here, "--size", 32
    if tree:
        assert "find different pictures in" in mistake(capsys, "train_classification", *flags)
    else:
        assert run_script("train_classification", *flags) == 0


def make_learner(**settings) -> ClassificationLearner:
    config = make_config("classification", **{"batch_size": 3, "device": "cpu", **settings})
    return ClassificationLearner(config, read_splits(config.data, config.size), CPU)


def test_the_schedules_of_the_learning_rate(small_network):
    for schedule, expected in {
        "step": [1, 1, 0.1, 0.1, 0.01, 0.01],
        "cosine": [1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873],
        "constant": [1] * 6,
    }.items():
        learner = make_learner(learning_rate_schedule=schedule, learning_rate=1.0, n_epochs=6)
        starts = [learner.learning_rate(epoch * learner.updates_per_epoch) for epoch in range(6)]
        assert starts == pytest.approx(expected)
        assert learner.learning_rate(learner.updates_per_epoch - 1) == 1


def test_scores_are_those_of_single_images(small_network):
    """The last batch of an evaluation is smaller than the others."""
    learner = make_learner()
    val = learner.splits.val
    scores = learner.evaluate(0)
    with torch.no_grad():
        images = (learner._normalise(val[k, 0].image[None]) for k in range(len(val)))
        logits = torch.cat([learner.model(image) for image in images])
    loss = nn.functional.cross_entropy(logits, val.labels).item()
    ranks = (logits > logits.gather(1, val.labels[:, None])).sum(dim=1)
    assert scores["val/loss"] == pytest.approx(loss, rel=1e-4)
    assert scores["val/top1"] == (ranks == 0).double().mean()
    assert scores["val/top5"] == 1  # of four classes


def test_bfloat16_is_close_to_float32():
    losses = []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        learner = make_learner(precision=precision)
        losses.append(learner.update(0)[0]["loss"])
        assert all(x.dtype == torch.float32 for x in learner.model.parameters())
    assert 0 < abs(losses[0] - losses[1]) < 0.2


def white_squares(number: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return black images with a white square in the quarter that is the class."""
    labels = torch.arange(number) % 4
    places = torch.randint(
        1, size // 2 - 4, (number, 2), generator=torch.Generator().manual_seed(seed)
    )
    places += torch.stack([labels // 2, labels % 2], dim=1) * (size // 2)
    images = torch.zeros(number, 3, size, size, dtype=torch.uint8)
    for image, (i, j) in zip(images, places.tolist(), strict=True):
        image[:, i : i + 3, j : j + 3] = 255
    return images, labels


def test_coordinates_help_a_network_that_cannot_know_places(small_network, monkeypatch):
    """Chance is 25%; three seeds gave 100% with coordinates, and 23% to 28% without."""
    monkeypatch.setattr(small_data, "_NUMBERS", {"train": 800, "val": 200})
    monkeypatch.setitem(small_data._GENERATED, "quadrants", (white_squares, small_data.QUARTERS))
    scores = {}
    for model in ("plain", "coordconv"):
        learner = make_learner(model=model, learning_rate=0.05, size=16, batch_size=32)
        for number in range(150):
            learner.update(number)
        scores[model] = learner.evaluate(0)["val/top1"]
    assert scores["plain"] < 0.4
    assert scores["coordconv"] > 0.9


def fails(folder: Path, capsys, *flags: object) -> str:
    """Return the sentence of a mistake, which leaves no run folder."""
    own = [*TINY.split(), "--log-dir", folder / "runs", *flags]
    error = mistake(capsys, "train_classification", *own)
    assert not (folder / "runs").exists()
    return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model coordcov", "--model must be 'plain', 'conv', 'coordconv'"),
        ("--preset paper", "--data must be digits, mnist-5k, quadrants, bars, or a folder"),
        ("--data nowhere", "There is no folder "),
        ("--batch-size 500", "quadrants has 12 pictures, fewer than a batch of 500; choose"),
        ("--backbone resnet5", "There is no classifier 'resnet5'; did you mean resnet50?"),
        ("--weights nowhere.pt", "--weights "),
        ("--size 8", "A size of 8 pixels is too small; choose at least 16."),
        ("--shift 2", "--shift 2 would move the objects of quadrants into other classes; choose"),
        ("--backbone vit_b_16", "--backbone vit_b_16 cannot use images of --size 32: "),
        ("--precision float16", "--precision must be 'float32' or 'bfloat16', not 'float16'"),
    ],
)
def test_a_mistake_is_a_one_sentence_error(flags, message, tmp_path, capsys):
    assert fails(tmp_path, capsys, *flags.split()).startswith(message)


def test_a_missing_extra_is_a_one_sentence_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert "pip install 'rl_coordconv[vision]'." in fails(tmp_path, capsys)
