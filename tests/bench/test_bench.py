import dataclasses
import json
from pathlib import Path

import pytest
import torch

from rl_coordconv.bench import layer, runs, timing, toy, updates
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from scripts import load_script, mistake, run_script

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "bench.py"
CONFIGS = ROOT / "configs" / "toy"


@pytest.fixture(scope="module")
def main():
    return load_script("bench").main


@pytest.fixture
def small_cases(monkeypatch):
    """Every case with one sample of a small image."""
    cases = [dataclasses.replace(case, input=(1, case.input[1], 12, 12)) for case in layer.CASES]
    monkeypatch.setattr(layer, "CASES", tuple(cases))
    monkeypatch.setattr(layer, "LARGE_CASES", ())
    return cases


class TestScript:
    @pytest.mark.parametrize(
        ("dtype", "memory_format"), [("float32", "contiguous"), ("float64", "channels-last")]
    )
    def test_prints_a_row_and_writes_the_numbers_of_every_case(
        self, main, small_cases, tmp_path, capsys, dtype, memory_format
    ):
        path = tmp_path / "layer.json"
        where = ["--dtype", dtype, "--memory-format", memory_format]
        assert main(["layer", "--repeats", "2", *where, "--json", str(path)]) == 0
        header, rule, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
        assert [cell.strip() for cell in header.strip("|").split("|")][-2:] == [
            "CoordConv2d",
            "concatenation",
        ]
        assert set(rule) == set("| -")
        assert len(rows) == len(small_cases)
        for row, case in zip(rows, small_cases, strict=True):
            assert case.convolution in row
            assert f"| {case.timed} " in row
        report = json.loads(path.read_text())
        assert report["torch"] == torch.__version__
        assert report["threads"] == torch.get_num_threads()
        assert (report["device"], report["dtype"], report["repeats"]) == ("cpu", dtype, 2)
        assert report["memory_format"] == memory_format
        for row, case in zip(report["rows"], small_cases, strict=True):
            assert tuple(row["input"]) == case.input
            assert list(row["seconds"]) == ["Conv2d", "CoordConv2d", "concatenation"]
            assert row["ratio_to_conv2d"]["Conv2d"] == {"median": 1, "low": 1, "high": 1}
            for spread in (*row["seconds"].values(), *row["ratio_to_conv2d"].values()):
                assert 0 < spread["low"] <= spread["median"] <= spread["high"]

    @pytest.mark.parametrize(
        ("flags", "sentence"),
        [
            ([], "arguments are required: bench"),
            (["layr"], "invalid choice: 'layr'"),
            (["layer", "--repeats", "0"], "--repeats: must be from 1 to 4096, not 0."),
            (["toy", "--repeats", "0"], "--repeats: must be from 1 to 4096, not 0."),
            (["layer", "--repeats", "x"], "invalid count value: 'x'"),
            (["layer", "--json", "/no/such/folder/x.json"], "no folder /no/such/folder"),
            (["layer", "--threads"], "There is no flag --threads; there are: "),
        ],
    )
    def test_a_mistake_is_one_sentence(self, main, capsys, flags, sentence):
        with pytest.raises(SystemExit) as exit_:
            main(flags)
        assert exit_.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert sentence in err
        assert err.count("\n") == 1

    def test_a_missing_package_is_one_sentence(self, capsys, monkeypatch):
        def run(*_):
            raise ModuleNotFoundError(name=missing)

        monkeypatch.setattr(layer, "run", run)
        missing = "torchvision"
        message = mistake(capsys, "bench", "layer")
        assert message == "bench layer needs torchvision: pip install 'rl_coordconv[vision]'.\n"
        missing = "other"
        with pytest.raises(ModuleNotFoundError):
            run_script("bench", "layer")

    def test_a_missing_gpu_is_an_error(self, main, capsys, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SystemExit):
            main(["layer", "--device", "cuda"])
        assert capsys.readouterr().err == "There is no CUDA device on this machine.\n"


class TestTiming:
    def test_each_candidate_is_timed_once_per_round(self):
        calls = []
        candidates = {name: (lambda name=name: calls.append(name)) for name in "abc"}
        seconds = timing.time_interleaved(candidates, rounds=20)
        assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abc", 20)
        rounds = [tuple(calls[i : i + 3]) for i in range(0, len(calls), 3)]
        assert len(rounds) == timing.WARM_UP + 20
        assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
        assert len(set(rounds)) > 3  # no candidate always follows the same one

    def test_a_spread_is_median_and_quartiles(self):
        assert timing.Spread.of([4.0, 1, 2, 5, 3]) == timing.Spread(3, 2, 4)
        assert timing.Spread.of([7.0]) == timing.Spread(7, 7, 7)

    @pytest.mark.parametrize("case", layer.CASES, ids=lambda case: f"{case.input}-{case.timed}")
    def test_only_hidden_layers_compute_the_gradient_of_their_input(self, case):
        """As in training, where images need no gradient."""
        hidden = case.input[1] > 4
        assert ("to input" in case.timed) == (hidden and "backward" in case.timed)


def test_the_layers_have_equal_output_for_equal_weights():
    weights = {name: make(4, 8, 3).weight.shape[1] for name, make in layer.LAYERS.items()}
    assert weights == {"Conv2d": 4, "CoordConv2d": 6, "concatenation": 6}
    x = torch.rand(2, 4, 5, 7)
    plain, coord = layer.LAYERS["concatenation"](4, 8, 3), layer.LAYERS["CoordConv2d"](4, 8, 3)
    coord.load_state_dict(plain.state_dict())
    torch.testing.assert_close(plain(x), coord(x))


def test_concatenation_caches_coordinates_and_preserves_channels_last(monkeypatch):
    concat, x = layer.ConcatConv2d(4, 8, 3), torch.rand(2, 4, 5, 7)
    x = x.contiguous(memory_format=torch.channels_last)
    out = concat(x)
    assert out.is_contiguous(memory_format=torch.channels_last)
    with monkeypatch.context() as patches:
        patches.setattr(layer, "coordinate_channels", None)  # not called again
        assert concat(x).equal(out)
    assert concat(x[:1]).shape[0] == 1
    assert concat(x[..., :5]).shape[3] == 3


@pytest.mark.slow
def test_updates_of_every_experiment_are_measured(main, tmp_path, capsys):
    path = tmp_path / "updates.json"
    assert main(["updates", "--repeats", "1", "--json", str(path)]) == 0
    measured = json.loads(path.read_text())["rows"]
    assert [row["experiment"] for row in measured] == [c["experiment"] for c in updates.CASES]
    assert all(row["seconds"]["eager"]["median"] > 0 for row in measured)
    assert "rpn-coordconv" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_updates_on_a_gpu_are_captured_too(preset, cuda, monkeypatch):
    small = [case for case in updates.CASES if case["experiment"] == "toy"]
    monkeypatch.setattr(updates, "CASES", small)
    rows = updates.run(4, cuda.type, preset).numbers["rows"]
    modes = ["eager", "captured"] if cuda.type == "cuda" else ["eager"]
    assert [list(row["seconds"]) for row in rows] == [modes] * len(small)


@pytest.mark.gpu
def test_on_a_gpu_captured_calls_are_measured_too(small_cases, cuda):
    report = layer.run(2, cuda.type, "float32", "contiguous")
    modes = ["eager", "captured"] if cuda.type == "cuda" else ["eager"]
    assert [row["mode"] for row in report.numbers["rows"]] == modes * len(small_cases)


class TestToy:
    @pytest.mark.parametrize(("task", "model"), toy.CASES)
    def test_the_plain_implementation_has_the_same_output(self, task, model):
        chosen = {"task": task, "model": model, "canvas": 32, "square": 21}
        config = ToyConfig.load(ToyConfig.find_defaults(CONFIGS, chosen), chosen)
        samples, _ = split(config.split, config.canvas, config.square)
        x = TASKS[task].inputs[config.inputs](samples)[:8]
        ours = make_model(task, model, config.shape)
        plain = toy.AsWritten(ours)
        assert [*plain.parameters()] == [*ours.parameters()]
        torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-4)

    def test_prints_and_writes_a_row_for_each_case(self, monkeypatch):
        monkeypatch.setattr(toy, "CASES", toy.CASES[-2:])
        report = toy.run(2, CONFIGS, {"canvas": 32, "square": 21})
        rows = json.loads(json.dumps(report.numbers, default=dataclasses.asdict))["rows"]
        assert [(row["task"], row["model"]) for row in rows] == [*toy.CASES]
        for row in rows:
            assert 0 < row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
        assert report.text.count("regression") == 2


@pytest.mark.slow
def test_parallel_runs_are_real_trainings(main, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runs, "_LOG_INTERVAL", {"a2c": 1})  # the test waits for two logs of each
    path = tmp_path / "runs.json"
    flags = ["--repeats", "1", "--seconds", "0.1", "--n-runs", "1", "2", "--json", str(path)]
    assert main(["runs", *flags]) == 0
    report = json.loads(path.read_text())
    assert list(report["steps_per_second"]) == ["1", "2"]
    assert all(speed["median"] > 10 for speed in report["steps_per_second"].values())
    assert report["ratio_to_first"]["1"]["median"] == 1
    assert len(capsys.readouterr().out.split("\n\n")[0].splitlines()) == 4


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--repeats 0", "--repeats: must be from 1 to 4096, not 0."),
        ("--n-runs 0", "--n-runs: must be from 1 to 4096, not 0."),
        ("--seconds 0", "--seconds: must be above 0 and finite, not 0.0."),
    ],
)
def test_zero_is_an_error(flags, sentence, main, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["runs", *flags.split()])
    assert exit_.value.code == 2
    assert sentence in capsys.readouterr().err


def test_classifiers_are_compared_with_the_plain_network(main, capsys, tmp_path):
    file = tmp_path / "speeds.json"
    flags = "classification --backbone squeezenet1_1 --size 32 --batch-size 2 --repeats 1 --json"
    assert main([*flags.split(), str(file)]) == 0
    numbers = json.loads(file.read_text())
    assert [row["model"] for row in numbers["rows"]] == ["plain", "conv", "coordconv"]
    speeds = [row["images_per_second"] for row in numbers["rows"]]
    assert numbers["rows"][2]["ratio"]["median"] == pytest.approx(speeds[2] / speeds[0])
    assert "Updates of squeezenet1_1 with 2 images of 32x32 pixels" in capsys.readouterr().out
