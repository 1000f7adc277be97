"""Small settings for tests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.apex.config import ApexConfig
from rl_coordconv.runs.files import rows_until
from rl_coordconv.runs.folder import Run
from scripts import run_script

# Rounds of 2 games x 4 steps, of which one update in the second half of the 32 steps.
TINY = {
    "num_env_runners": 0,
    "n_envs": 2,
    "rollout_steps": 4,
    "learning_starts": 16,
    "replay_size": 1000,
    "batch_size": 8,
    "replay_ratio": 1.0,
    "hidden": 16,
    "log_interval": 8,
    "eval_freq": 0,
    "eval_episodes": 1,
    "num_threads": 1,
    "device": "cpu",
}


def config(**settings: object) -> ApexConfig:
    made = make_config("apex", **settings)
    assert isinstance(made, ApexConfig)
    return made


def arguments(folder: Path, **settings: object) -> list[str]:
    """Return the command line of a tiny training."""
    words = {"log_dir": folder, **TINY, **settings}.items()
    return [text for name, x in words for text in (f"--{name.replace('_', '-')}", str(x))]


def train(folder: Path, **settings: object) -> Run:
    """Train through the script's main function, and return the run."""
    assert run_script("train_apex", *arguments(folder, **settings)) == 0
    (file,) = folder.rglob("config.yaml")
    return Run(file.parent)


def column(path: Path, name: str) -> list[float]:
    """Return the values in a column of a CSV file of a run, without gaps."""
    return [float(row[name]) for row in rows_until(path, "step", float("inf")) if row[name]]


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait until a condition is true and return its value; fail if the process ends first."""
    deadline = time.monotonic() + 240
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)
    return value
