import json

import pytest

from rl_coordconv.bench import gpu
from rl_coordconv.bench.processes import Interval
from scripts import load_script


@pytest.fixture(scope="module")
def main():
    return load_script("bench").main


def test_a_race_compares_every_way_with_sb3_and_the_games(monkeypatch):
    def interleave(candidates, rounds):
        speeds = {"SB3": 100, "games alone": 1000, "coordconv, captured": 600}
        return {name: [Interval(speeds.get(name, 300), 1.0, 0.0)] * rounds for name in candidates}

    monkeypatch.setattr(gpu, "interleave_processes", interleave)
    report = gpu.race(3, "ppo", "cpu")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.text.splitlines()]
    assert ["SB3", "100 (100-100)", "1.00 (1.00-1.00)", "0.10 (0.10-0.10)"] in rows
    expected = ["coordconv, captured", "600 (600-600)", "6.00 (6.00-6.00)", "0.60 (0.60-0.60)"]
    assert expected in rows
    assert ["captured", "2.00 (2.00-2.00)"] in rows
    assert ["captured, two groups", "1.00 (1.00-1.00)"] in rows


def test_the_ways_differ_in_their_flags_only(tmp_path):
    found = gpu.candidates("a2c", "cuda", ("nature",), 1.0, tmp_path)
    flags = {name: [*found[f"nature, {name}"].argv] for name in gpu.WAYS}
    for argv in flags.values():
        argv[argv.index("--log-dir") + 1] = ""
    assert flags["eager"][:-2] == flags["captured"][:-4] == flags["captured, two groups"][:-4]
    assert flags["eager"][-2:] == ["--cuda-graphs", "off"]
    assert flags["captured, two groups"][-4:] == ["--cuda-graphs", "on", "--env-groups", "2"]


@pytest.mark.slow
def test_is_tried_on_a_cpu(main, tmp_path, capsys):
    path = tmp_path / "gpu.json"
    assert main(["gpu", "--device", "cpu", "--quick", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    for part in ("layer, float32", "A2C", "updates"):
        assert f"## {part}\n" in printed
    assert json.loads(path.read_text())["A2C"]["ratio_to_sb3"]["coordconv, captured"]["median"] > 0


def test_a_missing_gpu_is_one_sentence(main, monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as exit_:
        main(["gpu"])
    assert exit_.value.code == 2
    assert "There is no CUDA device on this machine" in capsys.readouterr().err
