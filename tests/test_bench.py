import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bench.py"


def bench(*argv: str) -> int:
    spec = importlib.util.spec_from_file_location("bench", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(argv)


def test_the_layer_bench_prints_a_table_and_writes_its_numbers(tmp_path, capsys):
    file = tmp_path / "layer.json"
    assert bench("layer", "--repeats", "1", "--json", str(file)) == 0
    report = json.loads(file.read_text())
    assert len(report["rows"]) == 11  # five shapes, forward and training, and a rollout
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(report["rows"])
    for row in report["rows"]:
        assert row["ratio_to_conv2d"]["Conv2d"] == {"median": 1, "low": 1, "high": 1}
        for name in ("CoordConv2d", "concatenation"):
            # With a single round, the ratio is that of the two times.
            ratio = row["seconds"][name]["median"] / row["seconds"]["Conv2d"]["median"]
            assert row["ratio_to_conv2d"][name]["median"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["layer", "--repeats", "0"], "repeats must be at least 1, not 0."),
        (["layer", "--json", "nowhere/x.json"], "There is no folder nowhere to write to."),
        (["layers"], "bench.py: argument bench: invalid choice: 'layers'"),
    ],
)
def test_a_mistake_is_one_sentence_with_exit_code_2(argv, sentence, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench.py"])
    with pytest.raises(SystemExit) as exit_:
        bench(*argv)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)
