import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_coordconv.runs.checkpoint import (
    derived_seed,
    load_state,
    refuse_diverged,
    rng_untouched,
    save_state,
)
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "checkpoints").mkdir()
    return Run(tmp_path)


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002 - global


def test_rng_untouched_restores_all_generators():
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002 - global
    expected = [draws(), draws()]
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002 - global
    first = draws()
    with rng_untouched():
        draws(), draws()
    assert [first, draws()] == expected


def test_derived_seeds_of_runs_and_streams_do_not_overlap():
    seeds = {derived_seed(s, step) for s in range(5) for step in (0, 1, 100_000)}
    seeds |= {derived_seed(s, 0, 1) for s in range(5)}
    assert len(seeds) == 20
    ordered = sorted(seeds)
    assert min(b - a for a, b in itertools.pairwise(ordered)) > 1000
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("what", ["loss", "weight", "running_mean"])
def test_a_training_that_diverged_is_refused(run, value, what):
    model, losses = torch.nn.BatchNorm1d(2), {"loss": 1.0}
    refuse_diverged(run, "step 3", model, losses)
    save_state(run, 2, {})
    if what == "loss":
        losses["loss"] = value
    else:
        model.state_dict()[what][0] = value
    sentence = rf"{what} is NaN or infinite at step 3\. Last good checkpoint: .*0002\.pt\."
    with pytest.raises(UserError, match=sentence):
        refuse_diverged(run, "step 3", model, losses)


class TestStates:
    def test_the_newest_is_loaded_and_two_are_kept(self, run):
        for step in (1, 5, 10):
            save_state(run, step, {"step": step, "weight": torch.full((2,), float(step))})
        state = load_state(run, torch.device("cpu"))
        assert state["step"] == 10
        assert state["weight"].tolist() == [10, 10]
        assert len(list(run.checkpoints.iterdir())) == 2

    @pytest.mark.parametrize("damage", [b"", b"not a checkpoint"])
    def test_a_damaged_checkpoint_is_reported_and_skipped(self, run, damage, capsys):
        save_state(run, 1, {"step": 1})
        save_state(run, 2, {"step": 2})
        newest = max(run.checkpoints.iterdir())
        newest.write_bytes(damage)
        assert load_state(run, torch.device("cpu"))["step"] == 1
        assert f"{newest} is damaged" in capsys.readouterr().err

    def test_without_a_checkpoint_there_is_no_state(self, run):
        assert load_state(run, torch.device("cpu")) is None

    def test_damaged_checkpoints_are_renamed_and_not_tried_again(self, run):
        for step in (1, 2, 3):
            save_state(run, step, {"step": step})
        newest = max(run.checkpoints.iterdir())
        newest.write_bytes(b"torn")
        load_state(run, torch.device("cpu"))
        save_state(run, 2, {"step": 2})
        names = sorted(path.name for path in run.checkpoints.glob("step-*"))
        assert names == ["step-0000000002.pt"]

    def test_all_damaged_is_a_one_sentence_error(self, run):
        save_state(run, 1, {"step": 1})
        max(run.checkpoints.iterdir()).write_bytes(b"torn")
        with pytest.raises(UserError, match="are damaged; start over with --overwrite"):
            load_state(run, torch.device("cpu"))
        assert len(list(run.checkpoints.iterdir())) == 1
