"""The benchmark of Ape-X."""

import json
import sys

import pytest

from scripts import mistake, run_script


@pytest.mark.slow
def test_each_training_has_a_row_and_shares_of_its_time(tmp_path, capsys):
    pytest.importorskip("ray.rllib.algorithms.dqn", exc_type=ImportError)
    path = tmp_path / "apex.json"
    short = ["--repeats", "1", "--seconds", "0.1", "--json", str(path)]
    assert run_script("bench", "apex", *short, "--extractor", "nature") == 0
    printed = capsys.readouterr().out
    rows = json.loads(path.read_text())["rows"]
    assert {row["training"]: row["samples_per_step"] for row in rows} == {
        "RLlib's example": 8,
        "Ape-X, same rounds": 8,
        "Ape-X, quick": 4,
    }
    assert rows[0]["ratio"] == {"median": 1, "low": 1, "high": 1}
    for row in rows:
        assert f"| {row['training']} " in printed
        assert sum(row["shares"].values()) == pytest.approx(1)
        assert row["shares"]["updates"] > 0.05
        assert row["steps_per_second"]["median"] > 0


def test_without_rllib(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "rl_coordconv.bench.apex", raising=False)
    monkeypatch.setitem(sys.modules, "ray.rllib.algorithms.dqn", None)
    message = mistake(capsys, "bench", "apex")
    assert message == "bench apex needs ray: pip install 'rl_coordconv[rllib]'.\n"
