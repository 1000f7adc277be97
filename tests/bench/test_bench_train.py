import json
import runpy
from contextlib import nullcontext
from dataclasses import asdict
from os import cpu_count
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rl_coordconv.bench import envs, train, upper_bound
from rl_coordconv.bench.processes import Interval
from rl_coordconv.envs import vec_env
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.atari.config import A2CConfig, PPOConfig

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


@pytest.fixture(scope="module")
def main():
    return runpy.run_path(str(ROOT / "scripts" / "bench.py"))["main"]


class TestUpperBound:
    def test_times_add_up_on_shared_cores(self):
        assert upper_bound.upper_bound(300.0, 600.0, overlap=False) == pytest.approx(200)

    def test_the_slower_part_counts_if_both_run_at_the_same_time(self):
        assert upper_bound.upper_bound(300.0, 600.0, overlap=True) == 300

    def test_batches_equal_those_of_the_algorithms(self):
        a2c = A2CConfig.load(A2CConfig.find_defaults(CONFIGS / "a2c.yaml", {}))
        ppo = PPOConfig.load(PPOConfig.find_defaults(CONFIGS / "ppo.yaml", {}))
        assert upper_bound.batches(a2c) == [16 * 5]
        assert upper_bound.batches(ppo) == [256] * 4 * 4

    @pytest.mark.parametrize("part", list(upper_bound.PARTS))
    @pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    def test_a_part_does_the_work_of_training(self, monkeypatch, part, algorithm, precision):
        told, seen, played = [], [], []

        def between_updates(steps):
            told.append(steps)
            if len(told) == 3:
                raise KeyboardInterrupt

        make_model, ale_games = upper_bound.make_model, upper_bound.ale_games

        def watched_model(*args):
            model = make_model(*args)
            assert model.policy.features_extractor.precision == precision
            model.policy.features_extractor.register_forward_hook(
                lambda _, images, __: seen.append((len(images[0]), torch.is_grad_enabled()))
            )
            return model

        def watched_games(*args):
            games = ale_games(*args)
            step = games.step
            games.step = lambda actions: (played.append(len(actions)), step(actions))
            return games

        monkeypatch.setattr(upper_bound, "between_updates", between_updates)
        monkeypatch.setattr(upper_bound, "make_model", watched_model)
        monkeypatch.setattr(upper_bound, "ale_games", watched_games)
        flags = ["--extractor", "nature", "--precision", precision, "--n-envs", "2"]
        flags += ["--n-steps", "4", "--device", "cpu"]
        flags += ["--batch-size", "4"] if algorithm == "ppo" else []
        with pytest.raises(KeyboardInterrupt):
            upper_bound.main([part, algorithm, str(CONFIGS / f"{algorithm}.yaml"), *flags])
        assert told == [0, 8, 16]
        batches = [(4, True)] * 8 if algorithm == "ppo" else [(8, True)]
        assert seen == (([(2, False)] * 5 + batches) * 2 if part == "network" else [])
        assert played == ([2] * 4 * 2 if part == "environments" else [])


def of(memory, *speeds):
    """Return an interval of 2 s for each speed."""
    return [Interval(2 * speed, 2.0, memory) for speed in speeds]


def as_json(numbers):
    """Return numbers as `scripts/bench.py` writes them."""
    return json.loads(json.dumps(numbers, default=asdict))


INTERVALS = {
    "baseline": [*of(900, 100), *of(1100, 200)],
    "nature float32": of(800, 150, 300),
    "coordconv float32": of(830, 120, 270),
    "nature bf16": of(800, 240, 480),
    "coordconv bf16": of(860, 240, 420),
    "environments": of(600, 400, 800),
    "network float32": of(600, 400, 800),
    "network bf16": of(600, 1200, 2400),
}


class TestTrain:
    def test_ratios_are_taken_within_a_round(self):
        summary = as_json(train.summarise(INTERVALS, 500, overlap=False)[0])
        rows = {row.pop("candidate"): row for row in summary["rows"]}
        assert list(rows) == [*INTERVALS, "upper bound float32", "upper bound bf16"]
        # 120 / 100 and 270 / 200; the bounds are 200 and 400, so 120 / 200 and 270 / 400.
        assert rows["coordconv float32"] == {
            "steps_per_second": {"median": 195, "low": 157.5, "high": 232.5},
            "ratio": pytest.approx({"median": 1.275, "low": 1.2375, "high": 1.3125}),
            "share_of_upper_bound": pytest.approx(
                {"median": 0.6375, "low": 0.61875, "high": 0.65625}
            ),
            "memory_mib": 830,
            "memory_ratio": 830 / 1100,
            "memory_ratio_beyond_imports": 330 / 600,
        }
        # With bf16 the bounds are 300 and 600.
        shares = {name: row["share_of_upper_bound"] for name, row in rows.items() if len(row) > 2}
        assert {name: share["median"] for name, share in shares.items()} == pytest.approx(
            {
                "baseline": 0.5,
                "nature float32": 0.75,
                "coordconv float32": 0.6375,
                "nature bf16": 0.8,
                "coordconv bf16": 0.75,
            }
        )
        assert rows["upper bound float32"]["ratio"] == pytest.approx(
            {"median": 2, "low": 2, "high": 2}
        )
        assert rows["upper bound bf16"]["ratio"]["median"] == pytest.approx(3)
        # 120 / 150 and 270 / 300; 240 / 240 and 420 / 480.
        beside = {p: ratio["median"] for p, ratio in summary["coordconv_to_nature"].items()}
        assert beside == pytest.approx({"float32": 0.85, "bf16": 0.9375})

    def test_on_a_gpu_the_slower_part_is_the_upper_bound(self):
        rows = as_json(train.summarise(INTERVALS, 500, overlap=True)[0])["rows"]
        shares = {row["candidate"]: row.get("share_of_upper_bound") for row in rows}
        assert shares["nature float32"]["median"] == pytest.approx(0.375)
        assert shares["nature bf16"]["median"] == pytest.approx(0.6)

    def test_the_quick_measurement_is_of_float32_alone(self, tmp_path):
        found = train._candidates("ppo", train.QUICK_PRECISIONS, tmp_path, 1.0)
        names = [name for name in INTERVALS if "bf16" not in name]
        assert list(found) == names[1:]
        numbers, tables = train.summarise(
            {name: INTERVALS[name] for name in names}, 500, overlap=False
        )
        assert [row["candidate"] for row in numbers["rows"]] == [*names, "upper bound float32"]
        assert list(numbers["coordconv_to_nature"]) == ["float32"]
        assert [len(table) for table in tables] == [1 + len(names) + 1, 2]

    def test_the_table_has_a_row_for_each_candidate(self):
        speeds, pairs = train.summarise(INTERVALS, 500, overlap=False)[1]
        rows = [" | ".join(row) for row in speeds]
        assert "baseline | 150 (125-175) | 1.00 (1.00-1.00) | 50% | 1,100 | 1.00 | 1.00" in rows
        coordconv = "coordconv float32 | 195 (158-232) | 1.27 (1.24-1.31) | 64% | 830 | 0.75 | 0.55"
        assert coordconv in rows
        assert ["upper bound bf16", "450 (375-525)", "3.00 (3.00-3.00)", "", "", "", ""] in speeds
        assert ["float32", "0.85 (0.83-0.88)"] in pairs

    @pytest.mark.slow
    def test_measures_from_the_command_line(self, main, monkeypatch, tmp_path, capsys):
        monkeypatch.setattr(train, "BASELINES", {"the only one": ["DummyVecEnv", "1"]})
        monkeypatch.setattr(train, "BASELINE_ROUNDS", 1)
        monkeypatch.setattr(train, "PRECISIONS", ("float32",))
        monkeypatch.setattr(train, "TemporaryDirectory", lambda: nullcontext(str(tmp_path)))
        path = tmp_path / "train.json"
        assert main(["train", "--repeats", "2", "--seconds", "0.01", "--json", str(path)]) == 0
        printed = capsys.readouterr().out
        assert "\n| network float32 " in printed
        assert "fastest settings on this machine: the only one" in printed
        report = json.loads(path.read_text())
        trainings = {"baseline", "nature float32", "coordconv float32"}
        assert set(report["intervals"]) == trainings | {"environments", "network float32"}
        for intervals in report["intervals"].values():
            assert len(intervals) == 2
            assert all(
                interval["steps"] % (16 * 5) == 0 and interval["steps"] > 0
                for interval in intervals
            )
        for row in report["rows"]:
            assert ("memory_mib" in row) == (row["candidate"] in trainings)
        assert (report["baseline"], report["repeats"]) == ("the only one", 2)
        assert report["cores"] == cpu_count()
        assert report["torch"] == torch.__version__
        # Our runs log as usual, each into a separate folder.
        for extractor in ("nature", "coordconv"):
            run = f"{extractor} float32/a2c/MsPacman/{extractor}/seed-0"
            assert (tmp_path / run / "config.yaml").exists()

    def test_a_process_that_ends_early_is_one_sentence(self, main, monkeypatch, capsys):
        monkeypatch.setattr(train, "BASELINES", {"unheard-of": ["unheard-of", "1"]})
        monkeypatch.setattr(train, "_candidates", lambda *_: {})
        with pytest.raises(SystemExit) as exit_:
            main(["train", "--repeats", "1"])
        assert exit_.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("baseline.py ended early: ")
        assert "unheard-of" in err
        assert err.count("\n") == 1


class TestEnvs:
    def test_ale_py_alone_has_the_settings_of_our_environment(self, monkeypatch):
        calls = []

        class Noted(Exception):
            pass

        def note(*args, **kwargs):
            calls.append((args, kwargs))
            raise Noted

        monkeypatch.setattr(vec_env, "AtariVectorEnv", note)
        for make in (make_atari_env, envs.ale_games):
            with pytest.raises(Noted):
                make("Breakout", 3, num_threads=2)
        assert calls[0] == calls[1]

    def test_plays_the_given_number_of_steps_with_valid_actions(self):
        seen = []
        envs.play(seen.append, gym.spaces.Discrete(3), n_envs=2)(100)
        assert np.shape(seen) == (100, 2)
        assert set(np.unique(seen)) == {0, 1, 2}

    def test_prints_and_writes_a_row_for_each_number_of_games(
        self, main, monkeypatch, tmp_path, capsys
    ):
        monkeypatch.setattr(envs, "_STEPS", 6)
        path = tmp_path / "envs.json"
        assert main(["envs", "--repeats", "2", "--n-envs", "2", "4", "--json", str(path)]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert [line.split()[1] for line in printed[2:4]] == ["2", "4"]
        rows = json.loads(path.read_text())["rows"]
        assert [(row["n_envs"], row["steps"]) for row in rows] == [(2, 3 * 2), (4, 2 * 4)]
        for row in rows:
            assert list(row["steps_per_second"]) == ["Stable-Baselines3", "ale-py", "AtariVecEnv"]
            assert row["ratio_to_baseline"]["Stable-Baselines3"]["median"] == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["train", "--repeats", "0"], "--repeats: must be from 1 to 4096, not 0."),
        (["train", "--seconds", "0"], "--seconds: must be above 0 and finite, not 0.0."),
        (["train", "--seconds", "nan"], "--seconds: must be above 0 and finite, not nan."),
        (["train", "--algorithm", "dqn"], "invalid choice: 'dqn'"),
        (["envs", "--repeats", "0"], "--repeats: must be from 1 to 4096, not 0."),
        (["envs", "--n-envs", "8", "0"], "--n-envs: must be from 1 to 4096, not 0."),
        (["envs", "--n-envs"], "expected at least one argument"),
    ],
)
def test_a_mistake_is_one_sentence(main, capsys, flags, sentence):
    with pytest.raises(SystemExit) as exit_:
        main(flags)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
