"""Test training of the GAN and the VAE through the scripts' main."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.testing import assert_close

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments import train as train_from_python
from rl_coordconv.experiments.generative.learner import GenerativeLearner
from rl_coordconv.experiments.generative.names import GANModel, VAEModel
from rl_coordconv.experiments.generative.train import _QUICK_SECONDS
from rl_coordconv.runs.capture import Captured
from rl_coordconv.runs.folder import Run
from scripts import run_script

ROOT = Path(__file__).parents[3]
TINY = (
    "--canvas 16 --channels 2 --latent-size 3 --n-images 24 --batch-size 4 --n-epochs 2"
    " --num-threads 1 --device cpu"
)
MODELS = [("gan", m) for m in get_args(GANModel)] + [("vae", m) for m in get_args(VAEModel)]


def main(name: str, folder: Path, flags: str = "") -> int:
    return run_script(f"train_{name}", *TINY.split(), "--log-dir", folder, *flags.split())


def train(name: str, folder: Path, flags: str = "") -> Run:
    assert main(name, folder, flags) == 0
    return find_run(folder)


def find_run(folder: Path) -> Run:
    (config,) = folder.rglob("config.yaml")
    return Run(config.parent)


def rows(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("name", "model"), [("gan", "coordconv"), pytest.param("vae", "conv", marks=pytest.mark.slow)]
)
def test_a_run_shows_what_it_learned(name, model, tmp_path, capsys):
    run = train(name, tmp_path, f"--model {model}")
    assert run.folder.parts[-4:-1] == (
        *(name, "two-objects"),
        f"{model}-quick-n_images-24-canvas-16-latent_size-3-channels-2-batch_size-4",
    )
    assert [row["updates"] for row in rows(run)] == ["0", "6", "12"]
    pictures = {path.name for path in run.figures.iterdir()}
    stills = {"samples.png", "mean.png", "walks.png", "positions.png"}
    assert pictures == stills | {"walks_animation.gif"}
    for still in stills:
        assert len(Image.open(run.figures / still).convert("L").getcolors()) > 2  # not blank
    with Image.open(run.figures / "walks_animation.gif") as animation:
        assert animation.n_frames > 1  # equal frames are merged

    events = EventAccumulator(str(run.folder)).Reload()
    assert [image.step for image in events.Images("samples/images")] == [0, 1, 2]
    losses = {"gan": "train/accuracy_fake", "vae": "test/reconstruction"}
    logged = {losses[name], "samples/entropy_red", "samples/coverage", "walk/good"}
    assert logged <= {*events.Tags()["scalars"]}

    out = capsys.readouterr().out
    assert "Training takes about" in out
    paper = {("gan", "conv"): "2.69", ("gan", "coordconv"): "2.93"}.get((name, model), "-")
    assert f"│ {paper} " in next(line for line in out.splitlines() if "entropy, blue  " in line)
    other = "coordconv" if model == "conv" else "conv"
    words = f"--n-epochs 2 --model {other} --preset quick --n-images 24 --canvas 16"
    (compare,) = (line for line in out.splitlines() if line.startswith("compare"))
    assert words in compare
    assert f"--log-dir {tmp_path}" in compare
    assert ("tanh: fair" in out) == (name == "gan")


@pytest.mark.slow
def test_every_model_has_an_expected_time():
    assert set(MODELS) == set(_QUICK_SECONDS)


def test_the_second_of_both_models_is_shown_beside_the_first(tmp_path):
    """But not beside a run whose weights are damaged."""
    flags = "--n-epochs 1 --model"
    assert main("gan", tmp_path, f"{flags} conv") == 0
    (first,) = map(Run, tmp_path.glob("gan/*/conv-*/seed-0"))
    both = "walks_of_both_models.gif"
    assert not (first.figures / both).exists()
    assert main("gan", tmp_path, f"{flags} coordconv") == 0
    (second,) = map(Run, tmp_path.glob("gan/*/coordconv-*/seed-0"))
    with Image.open(second.figures / both) as animation:
        assert animation.width == 2 * 108  # six times a walk's 16 pixels and its grey lines

    first.final_weights.write_bytes(first.final_weights.read_bytes()[:100])
    assert main("gan", tmp_path, f"{flags} coordconv --overwrite") == 0
    assert not (second.figures / both).exists()
    assert second.is_finished


def test_the_final_networks_are_loaded(tmp_path):
    settings = {"canvas": 16, "channels": 2, "n_images": 24, "n_epochs": 1, "device": "cpu"}
    result = train_from_python(make_config("gan", **settings, log_dir=tmp_path))
    weights = torch.load(result.run.final_weights, weights_only=True)
    assert_close(dict(result.model.state_dict()), weights)


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "model"), MODELS)
def test_every_model_trains_on_a_gpu(name, model, tmp_path, cuda):
    run = train(name, tmp_path, f"--model {model} --device {cuda}")
    assert run.is_finished


class TestResume:
    @pytest.mark.parametrize(
        ("name", "model"),
        [("gan", "conv"), pytest.param("vae", "coordconv", marks=pytest.mark.slow)],
    )
    def test_a_resumed_run_equals_an_uninterrupted_one(self, name, model, tmp_path, monkeypatch):
        """Stop in the middle of the second epoch."""
        flags = f"--model {model}"
        whole = train(name, tmp_path / "whole", flags)
        update = GenerativeLearner.update

        def interrupted(self, number):
            if number == 9:
                signal.raise_signal(signal.SIGINT)
            return update(self, number)

        monkeypatch.setattr(GenerativeLearner, "update", interrupted)
        assert main(name, tmp_path / "parts", flags) == 128 + signal.SIGINT
        monkeypatch.setattr(GenerativeLearner, "update", update)
        parts = train(name, tmp_path / "parts", flags)

        weights = [torch.load(r.final_weights, weights_only=True) for r in (whole, parts)]
        for key in weights[0]:
            assert torch.equal(weights[0][key], weights[1][key]), key
        assert rows(whole) == rows(parts)
        for figure in whole.figures.iterdir():
            assert figure.read_bytes() == (parts.figures / figure.name).read_bytes()

    @pytest.mark.slow
    def test_a_killed_run_resumes_from_its_last_checkpoint(self, tmp_path):
        flags = [*TINY.split(), "--n-epochs", "20", "--log-dir", str(tmp_path)]
        command = [sys.executable, str(ROOT / "scripts" / "train_vae.py"), *flags]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while len(list(tmp_path.rglob("step-*.pt"))) < 2:  # the first is from before training
                assert process.poll() is None
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
        assert not find_run(tmp_path).done.exists()
        run = train("vae", tmp_path, "--n-epochs 20")
        assert [row["step"] for row in rows(run)] == [str(step) for step in range(21)]

    @pytest.mark.gpu
    @pytest.mark.parametrize(("name", "model"), MODELS)
    def test_captured_updates_equal_eager_ones(self, name, model, tmp_path, cuda, monkeypatch):
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        flags = f"--model {model} --device {cuda} --n-epochs 1"
        captured = train(name, tmp_path / "captured", flags)
        monkeypatch.setattr(Captured, "__call__", lambda self, *inputs: self._step(*inputs))
        eager = train(name, tmp_path / "eager", flags)
        weights = [torch.load(run.final_weights, weights_only=True) for run in (captured, eager)]
        assert_close(*weights, rtol=1e-3, atol=1e-3)

    @pytest.mark.gpu
    @pytest.mark.parametrize("first", ["cpu", "gpu"])
    def test_a_run_resumes_on_the_other_device(self, first, tmp_path, cuda):
        devices = ["cpu", str(cuda)] if first == "cpu" else [str(cuda), "cpu"]
        run = train("gan", tmp_path, f"--device {devices[0]}")
        for path in (run.done, run.final_weights, run.saved[0]):
            path.unlink()
        run = train("gan", tmp_path, f"--device {devices[1]}")
        assert run.is_finished


class TestFolder:
    """Training on a user's images."""

    @pytest.fixture
    def pictures(self, tmp_path: Path) -> Path:
        folder = tmp_path / "bedrooms" / "train"
        folder.mkdir(parents=True)
        for k in range(5):
            Image.new("RGB", (20 + k, 24), (50 * k, 10, 200)).save(folder / f"{k}.png")
        return folder.parent

    @pytest.mark.parametrize("name", ["gan", "vae"])
    def test_trains_without_looking_for_objects(self, name, pictures, tmp_path, capsys):
        run = train(name, tmp_path / "runs", f"--data {pictures}")
        assert run.folder.parts[-3] == "bedrooms"
        last = rows(run)[-1]
        assert "samples/nearest_real" in last
        assert not any("entropy" in column or "good" in column for column in last)
        assert not (run.figures / "positions.png").exists()
        assert (run.figures / "samples.png").exists()
        assert "distance to the nearest real image" in capsys.readouterr().out

    def test_too_few_images_are_a_one_sentence_error(self, pictures, tmp_path, capsys):
        self._fails(f"--data {pictures} --batch-size 8", tmp_path)
        assert capsys.readouterr().err == (
            f"{pictures} has too few images to train on (4); add some, or use a smaller"
            " --batch-size.\n"
        )

    def test_a_changed_folder_is_a_one_sentence_error(self, pictures, tmp_path, capsys):
        flags = f"--data {pictures} --model conv"
        run = train("gan", tmp_path / "runs", f"{flags} --n-epochs 1")
        before = rows(run)
        Image.new("RGB", (16, 16), "green").save(pictures / "new.png")
        with pytest.raises(SystemExit) as stop:
            main("gan", tmp_path / "runs", flags)
        assert stop.value.code == 2
        assert "have changed since the run began" in capsys.readouterr().err
        assert rows(run) == before
        (pictures / "new.png").unlink()
        assert [row["step"] for row in rows(train("gan", tmp_path / "runs", flags))] == [
            *("0", "1", "2"),
        ]

    def test_an_empty_folder_is_a_one_sentence_error(self, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        self._fails(f"--data {tmp_path / 'empty'}", tmp_path)
        assert "empty" in capsys.readouterr().err

    @staticmethod
    def _fails(flags, tmp_path):
        with pytest.raises(SystemExit) as stop:
            main("gan", tmp_path / "runs", flags)
        assert stop.value.code == 2
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--model cordconv", "--model must be 'conv', 'coordconv', 'coordconv-g'"),
        ("--beta-1 1", "--beta-1 must be less than 1.0, not 1.0."),
        ("--preset fast", "There is no preset 'fast'; there are: paper, quick."),
        ("--canvas 8", "The canvas must be a power of 2 and at least 16, not 8."),
        ("--latent-size 0", "--latent-size must be at least 1, not 0."),
        ("--n-images 2", "--n-images 2 must be at least --batch-size 4."),
        ("--data $NOWHERE", "--data $NOWHERE: the environment variable $NOWHERE is not set."),
    ],
)
def test_a_mistake_is_a_one_sentence_error(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main("gan", tmp_path / "runs", flags)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
