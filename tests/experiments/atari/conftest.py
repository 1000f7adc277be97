"""Trained runs that several test files share."""

from pathlib import Path

import pytest
from atari_commands import SHORT_FLAGS, arguments, train

from rl_coordconv.experiments.atari import agents
from rl_coordconv.runs.folder import Run
from scripts import load_script


@pytest.fixture(autouse=True)
def _nothing_is_trusted_yet(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted_list = tmp_path_factory.mktemp("cache") / "rl_coordconv" / "trusted_list"
    monkeypatch.setattr(agents, "_trusted_list", lambda: trusted_list)


@pytest.fixture(scope="session")
def a2c_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 2,000 steps with evaluations, long enough for whole games."""
    flags = "--total-timesteps 2000 --eval-freq 1000 --save-freq 1000"
    return train("a2c", tmp_path_factory.mktemp("a2c"), flags)


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of A2C with CoordConv for 100 steps, with a checkpoint after 60, to evaluate."""
    return train("a2c", tmp_path_factory.mktemp("short"), SHORT_FLAGS)


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two runs of 40 steps, `coordconv` and `nature`."""
    folder = tmp_path_factory.mktemp("runs")
    for extractor in ("coordconv", "nature"):
        flags = f"--extractor {extractor} --total-timesteps 40 --eval-freq 0 --log-interval 1"
        assert load_script("train_a2c").main(arguments("a2c", folder, flags)) == 0
    return folder
