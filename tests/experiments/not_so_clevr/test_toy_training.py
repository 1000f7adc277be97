"""Test training on the toy tasks through the script's main."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.experiments.not_so_clevr import learner
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.learner import ToyLearner, make_optimizer
from rl_coordconv.experiments.not_so_clevr.metrics import accuracy
from rl_coordconv.experiments.not_so_clevr.models import MODELS, Shape, make_model
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run
from scripts import run_script

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs" / "toy"
TINY = "--canvas 32 --square 21 --n-epochs 2 --num-threads 1 --device cpu"
PAIRS = [(task, model) for task, models in MODELS.items() for model in models]


def main(folder: Path, flags: str) -> int:
    return run_script("train_toy", *TINY.split(), "--log-dir", folder, *flags.split())


def train(folder: Path, flags: str = "") -> Run:
    assert main(folder, flags) == 0
    (config,) = folder.rglob("config.yaml")
    return Run(config.parent)


def rows(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return list(csv.DictReader(file))


def toy_config(**flags) -> ToyConfig:
    chosen = {k: v for k, v in flags.items() if k in ("task", "split", "model", "preset")}
    return ToyConfig.load(ToyConfig.find_defaults(CONFIGS, chosen), flags)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("runs"))


class TestFinishedRun:
    def test_has_the_files_of_a_run_folder(self, run):
        names = {path.name for path in run.folder.iterdir()}
        assert names >= {
            *("DONE", "checkpoints", "command.txt", "config.yaml", "figures", "final_weights.pt"),
            *("progress.csv", "versions.json"),
        }
        assert run.folder.parts[-4:] == (
            *("toy", "classification-quadrant", "coordconv-raw-canvas-32-square-21", "seed-0"),
        )

    def test_logs_an_evaluation_before_the_first_update_and_after_each_epoch(self, run):
        logged = rows(run)
        assert [row["step"] for row in logged] == ["0", "1", "2"]
        # 12 x 12 places, 16 of them in the quadrant: x and y from 17 to 21 of 10 to 21.
        assert [row["updates"] for row in logged] == ["0", "8", "16"]
        assert float(logged[2]["train/loss"]) < float(logged[1]["train/loss"])

    def test_shows_scalars_and_figures_in_tensorboard(self, run):
        events = EventAccumulator(str(run.folder)).Reload()
        scalars = events.Tags()["scalars"]
        assert {"train/loss", "train/accuracy", "test/accuracy", "test/euclidean_pixels"} <= {
            *scalars
        }
        assert set(events.Tags()["images"]) == {"split", "summed_predictions", "around_one_pixel"}

    def test_the_last_row_matches_the_final_weights(self, run):
        config = ToyConfig.model_validate(yaml.safe_load(run.config.read_text()))
        model = make_model(config.task, config.model, config.shape)
        model.load_state_dict(torch.load(run.final_weights, weights_only=True))
        _, test = split(config.split, config.canvas, config.square)
        wanted = accuracy(model(test.xy.float()), test.pixels)
        assert float(rows(run)[-1]["test/accuracy"]) == wanted

    def test_the_same_command_again_does_nothing(self, run, capsys):
        before = run.progress.read_bytes()
        assert main(run.folder.parents[3], "") == 0
        assert "is already finished" in capsys.readouterr().out
        assert run.progress.read_bytes() == before


@pytest.mark.parametrize(("task", "model"), PAIRS)
def test_every_model_trains_and_has_figures(task, model, tmp_path, capsys):
    run = train(tmp_path, f"--task {task} --model {model} --n-epochs 1 --preset quick")
    out = capsys.readouterr().out
    for word in ("train", "test", "seconds", "parameters", "paper"):
        assert word in out
    paper = ToyConfig.find_defaults(CONFIGS, {"task": task, "model": model}).values["n_epochs"]
    assert f"ours, 1 of {paper} epochs" in out
    assert "Training takes about" in out
    assert "on one core of an AMD EPYC" in out
    assert f"tensorboard --logdir {tmp_path}\n" in out
    other = "coordconv" if model == next(iter(MODELS[task])) else next(iter(MODELS[task]))
    (command,) = [line for line in out.splitlines() if line.startswith("compare")]
    assert f"train_toy.py --n-epochs 1 --task {task} --split " in command
    assert f" --model {other} --preset quick " in command
    assert command.endswith(f" --log-dir {tmp_path}")
    pictures = list(run.figures.glob("*.png"))
    assert len(pictures) >= 2
    for picture in pictures:
        assert len(Image.open(picture).convert("L").getcolors()) > 2  # not blank


@pytest.mark.gpu
@pytest.mark.parametrize(("task", "model"), PAIRS)
def test_every_model_trains_on_a_gpu(task, model, tmp_path, cuda):
    flags = f"--task {task} --model {model} --n-epochs 1 --preset quick --device {cuda}"
    run = train(tmp_path, flags)
    assert json.loads(run.versions.read_text())["device"].startswith(cuda.type)
    assert run.is_finished


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["coordconv", "deconv"])
def test_captured_updates_equal_eager_ones(model, tmp_path, cuda, monkeypatch):
    """With a learning rate that changes at every update."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    weights = []
    for name in ("captured", "eager"):
        flags = f"--model {model} --learning-rate-schedule linear --device {cuda}"
        run = train(tmp_path / name, flags)
        weights.append(torch.load(run.final_weights, weights_only=True))
        monkeypatch.setattr(learner, "Captured", lambda step: step)
    torch.testing.assert_close(*weights, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize(("task", "model"), PAIRS)
@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_every_model_has_settings(task, model, preset):
    config = toy_config(task=task, model=model, preset=preset)
    assert (config.task, config.model, config.preset) == (task, model, preset)


def test_a_config_file_overrides_the_preset(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("task: rendering\nmodel: deconv\nlearning_rate: 1e-3\n")
    find = ToyConfig.find_defaults
    config = ToyConfig.load(find(CONFIGS, {"config": str(file), "split": "uniform"}))
    preset = ToyConfig.load(
        find(CONFIGS, {"task": "rendering", "model": "deconv", "split": "uniform"})
    )
    assert preset.learning_rate != 1e-3
    assert config == preset.model_copy(update={"learning_rate": 1e-3})


class TestResume:
    @pytest.mark.parametrize("model", ["coordconv", "deconv"])
    def test_a_resumed_run_equals_an_uninterrupted_one(self, model, tmp_path, monkeypatch):
        self._check(f"--model {model}", tmp_path, monkeypatch)

    @pytest.mark.gpu
    @pytest.mark.parametrize("model", ["coordconv", "deconv"])
    def test_a_resumed_run_equals_an_uninterrupted_one_on_a_gpu(
        self, model, tmp_path, monkeypatch, cuda
    ):
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
        self._check(f"--model {model} --device {cuda}", tmp_path, monkeypatch)

    @staticmethod
    def _check(flags, tmp_path, monkeypatch):
        """Stop in the middle of the second epoch."""
        whole = train(tmp_path / "whole", flags)

        update = ToyLearner.update

        def interrupted(self, number):
            if number == 10:
                signal.raise_signal(signal.SIGINT)
            return update(self, number)

        monkeypatch.setattr(ToyLearner, "update", interrupted)
        assert main(tmp_path / "parts", flags) == 128 + signal.SIGINT
        monkeypatch.setattr(ToyLearner, "update", update)
        parts = train(tmp_path / "parts", flags)

        weights = [torch.load(r.final_weights, weights_only=True) for r in (whole, parts)]
        for name in weights[0]:
            assert torch.equal(weights[0][name], weights[1][name]), name
        tables = [[{**row, "seconds": ""} for row in rows(r)] for r in (whole, parts)]
        assert tables[0] == tables[1]

    @pytest.mark.gpu
    @pytest.mark.parametrize("first", ["cpu", "gpu"])
    def test_a_run_resumes_on_the_other_device(self, first, tmp_path, cuda):
        devices = {"cpu": "cpu", "gpu": cuda}
        second = devices["gpu" if first == "cpu" else "cpu"]
        run = train(tmp_path, f"--save-freq 1 --device {devices[first]}")
        wanted = [float(row["train/loss"] or 0) for row in rows(run)]
        for path in (run.done, run.final_weights, run.saved[0]):
            path.unlink()
        run = train(tmp_path, f"--save-freq 1 --device {second}")
        assert [float(row["train/loss"] or 0) for row in rows(run)] == pytest.approx(
            wanted, rel=0.02
        )
        weights = torch.load(run.final_weights, weights_only=True)
        assert {value.device.type for value in weights.values()} == {torch.device(second).type}

    def test_a_killed_run_resumes_from_its_last_checkpoint(self, tmp_path):
        flags = "--n-epochs 20 --save-freq 1"
        command = [*TINY.split(), *flags.split(), "--log-dir", str(tmp_path)]
        script = str(ROOT / "scripts" / "train_toy.py")
        with subprocess.Popen([sys.executable, script, *command], stdout=subprocess.DEVNULL) as one:
            while len(list(tmp_path.rglob("step-*.pt"))) < 2:  # the first is from before training
                assert one.poll() is None
                time.sleep(0.05)
            os.kill(one.pid, signal.SIGKILL)
        assert main(tmp_path, flags) == 0
        (config,) = tmp_path.rglob("config.yaml")
        stopped = Run(config.parent)
        assert [row["step"] for row in rows(stopped)] == [str(epoch) for epoch in range(21)]
        assert stopped.is_finished

    def test_a_run_without_its_checkpoints_is_an_error(self, tmp_path, capsys):
        """Starting over would overwrite its logs."""
        run = train(tmp_path)
        run.done.unlink()
        before = rows(run)
        for lose in (lambda: [path.unlink() for path in run.saved], run.checkpoints.rmdir):
            lose()
            with pytest.raises(SystemExit) as stop:
                main(tmp_path, "")
            assert stop.value.code == 2
            assert "are missing, so the run cannot be resumed" in capsys.readouterr().err
            assert rows(run) == before
        assert main(tmp_path, "--overwrite") == 0

    def test_a_run_killed_before_its_first_checkpoint_starts_over(self, tmp_path):
        run = train(tmp_path)
        before = rows(run)
        for path in (run.done, run.progress, run.final_weights, *run.checkpoints.iterdir()):
            path.unlink()
        assert main(tmp_path, "") == 0
        assert [row["test/accuracy"] for row in rows(run)] == [
            row["test/accuracy"] for row in before
        ]
        events = EventAccumulator(str(run.folder)).Reload()
        assert [event.step for event in events.Scalars("test/accuracy")] == [0, 1, 2]

    def test_a_damaged_checkpoint_is_skipped(self, tmp_path, capsys):
        run = train(tmp_path, "--save-freq 1")
        (newest,) = run.checkpoints.glob("step-*16.pt")
        newest.write_bytes(newest.read_bytes()[:100])
        run.done.unlink()
        before = torch.load(run.final_weights, weights_only=True)
        assert main(tmp_path, "--save-freq 1") == 0
        assert "is damaged" in capsys.readouterr().err
        after = torch.load(run.final_weights, weights_only=True)
        assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_training_that_diverges_is_an_error(tmp_path, capsys):
    """Earlier, it counted as finished, with a network that returns NaN."""
    with pytest.raises(SystemExit) as stop:
        main(tmp_path, "--learning-rate 1e30")
    assert stop.value.code == 2
    (checkpoint,) = tmp_path.rglob("step-*.pt")
    assert capsys.readouterr().err == (
        "The training diverged: train/loss is NaN or infinite at update 8. Last good checkpoint:"
        f" {checkpoint}. Start over with a lower --learning-rate.\n"
    )
    assert not list(tmp_path.rglob("DONE"))


def test_the_largest_seed_trains(tmp_path):
    assert train(tmp_path, "--seed 4294967295 --n-epochs 1").is_finished


class TestLearner:
    def test_only_kernels_have_weight_decay(self):
        """With a loss of 0, only weight decay changes parameters."""
        model = make_model("regression", "conv", Shape("quadrant", 32))
        optimizer = make_optimizer(model, l2=0.5)
        before = {name: value.clone() for name, value in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for name, value in model.named_parameters():
            moved = not torch.equal(value, before[name])
            assert moved == (value.dim() == 4), name
        assert optimizer.param_groups[0]["weight_decay"] == 1.0
        assert optimizer.defaults["betas"] == (0.9, 0.99)

    @pytest.mark.parametrize(
        ("epoch", "expected"), [(0, 1.0), (199, 1.0), (200, 0.1), (801, 1e-4), (1500, 1e-4)]
    )
    def test_the_step_schedule_divides_by_10_every_200_epochs_four_times(self, epoch, expected):
        config = toy_config(model="deconv", canvas=32, square=25, learning_rate=1.0)
        learner = ToyLearner(config, *split("quadrant", 32, 25))
        number = epoch * learner.updates_per_epoch
        assert learner.learning_rate(number) == pytest.approx(expected)

    def test_the_linear_schedule_ends_at_zero(self):
        flags = {"learning_rate": 1.0, "learning_rate_schedule": "linear", "n_epochs": 4}
        learner = ToyLearner(toy_config(canvas=32, square=25, **flags), *split("quadrant", 32, 25))
        for epoch, expected in (0, 1.0), (1, 0.75), (4, 0.0):
            number = epoch * learner.updates_per_epoch
            assert learner.learning_rate(number) == pytest.approx(expected)


class TestLearning:
    def accuracies(self, model):
        """Return training and test accuracy on a quadrant split after about 200 updates."""
        config = toy_config(model=model, preset="quick", canvas=32, square=5)
        parts = split("quadrant", 32, 5)
        learner = ToyLearner(config, *parts)
        for number in range(6 * learner.updates_per_epoch):
            learner.update(number)
        return [accuracy(learner.predict(part), part.pixels) for part in parts]

    def test_coordconv_solves_a_reduced_quadrant_split(self):
        """Uses seed 0; at this size, some seeds learn the training samples only."""
        train, test = self.accuracies("coordconv")
        assert train > 0.95
        assert test > 0.9

    def test_the_deconvolution_does_not(self):
        _, test = self.accuracies("deconv")
        assert test < 0.05


class TestBadInput:
    @pytest.mark.parametrize(
        ("flags", "wanted"),
        [
            ("--task clasification", "did you mean classification?"),
            (
                "--split quadrants",
                "--split must be 'uniform' or 'quadrant', not 'quadrants'; did you mean quadrant?",
            ),
            ("--model coordcon", "did you mean coordconv?"),
            ("--model conv", "There is no classification model 'conv'"),
            ("--task regression --model deconv", "There is no regression model 'deconv'"),
            ("--preset fast", "there are: paper, quick."),
            ("--square 65 --canvas 64", "A square of 65 pixels does not fit on a canvas of 64."),
            ("--square 8", "must be odd"),
            ("--canvas 20 --square 19", "too few positions"),
            ("--model deconv --canvas 48", "must be a power of 2"),
            ("--model deconv --filter-size 1", "at least 2"),
            ("--loss mse", "--loss mse does not work with classification; use softmax."),
            ("--task regression --inputs raw", "--inputs raw does not work with regression"),
            ("--seed 4294967296", "--seed must be at most 4294967295, not 4294967296."),
            ("--device cuda:99", "There is no cuda:99 device on this machine"),
            ("--learning-rate -1", "--learning-rate must be greater than 0"),
            ("--epochs 3", "There is no flag --epochs; did you mean --n-epochs?"),
            ("--device tpu", "There is no device 'tpu'"),
            ("--config missing.yaml", "Cannot read the config file missing.yaml"),
        ],
    )
    def test_a_mistake_is_one_sentence_and_writes_nothing(self, flags, wanted, tmp_path, capsys):
        with pytest.raises(SystemExit) as stop:
            main(tmp_path, flags)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert wanted in line
        assert not list(tmp_path.iterdir())

    def test_a_run_with_other_settings_is_an_error_that_names_them(self, run, capsys):
        with pytest.raises(SystemExit):
            main(run.folder.parents[3], "--n-epochs 1")
        assert "n_epochs was 2, now 1" in capsys.readouterr().err

    def test_a_file_of_presets_is_an_error_that_names_it(self, tmp_path):
        file = CONFIGS / "classification.yaml"  # has presets, not settings
        with pytest.raises(UserError, match=r"classification.yaml: all is not a setting"):
            ToyConfig.load(ToyConfig.find_defaults(CONFIGS, {"config": str(file)}))
        (tmp_path / "classification.yaml").write_text("all: {}\n")
        with pytest.raises(UserError, match="coordconv has no settings for the preset paper"):
            ToyConfig.find_defaults(tmp_path, {})
