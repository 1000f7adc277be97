"""Small studies for tests, and assertions about their runs."""

from __future__ import annotations

import contextlib
import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from rl_coordconv.runs.folder import Run

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "study.py"

# Runs of a few seconds that are bitwise reproducible, with a checkpoint every epoch.
TOY = {
    "experiment": "toy",
    "task": "classification",
    "split": "quadrant",
    "model": "coordconv",
    "preset": "quick",
    "canvas": 24,
    "square": 5,
    "n_epochs": 24,
    "save_freq": 1,
    "device": "cpu",
    "num_threads": 1,
}
N_RUNS = 3


def write_study(folder: Path, vary: dict[str, list[Any]], fixed: dict[str, Any]) -> Path:
    """Write a study file whose runs are in ``folder/runs``."""
    fixed = {"log_dir": str(folder / "runs"), **fixed}
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({"vary": vary, "fixed": fixed}, sort_keys=False))
    return file


def start(*arguments: object, **kwargs: Any) -> subprocess.Popen[str]:
    """Start the script in its own process."""
    return start_python(SCRIPT, *arguments, **kwargs)


def start_python(*arguments: object, **kwargs: Any) -> subprocess.Popen[str]:
    """Start Python in its own process."""
    command = [sys.executable, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **kwargs)


def run_study(*arguments: object) -> str:
    """Return the script's output, after it ended with exit code 0."""
    return finish(start(*arguments))


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """Return a process's output, after it ended with an exit code."""
    out, error = process.communicate(timeout=280)
    assert process.returncode == code, out + error
    return out


def in_the_middle(folder: Path) -> list[Run]:
    """Return the runs that have a checkpoint and are less than half finished."""
    return [run for run in runs_in(folder).values() if is_in_the_middle(run)]


def is_in_the_middle(run: Run) -> bool:
    has_checkpoint = len(run.saved) > 1  # the first is of step 0
    return has_checkpoint and len(run.progress.read_text().splitlines()) <= TOY["n_epochs"] // 2


def runs_of(pids: list[int]) -> dict[int, Run]:
    """Return the run of each process, identified by its output file."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it ended meanwhile
            output = Path(f"/proc/{pid}/fd/1").readlink()
            if output.name == "output.txt":
                found[pid] = Run(output.parent)
    return found


def runs_in(folder: Path) -> dict[str, Run]:
    """Return all runs below a folder, by their path in it."""
    configs = sorted(folder.rglob("config.yaml"))
    return {str(path.parent.relative_to(folder)): Run(path.parent) for path in configs}


def starts(run: Run) -> int:
    """Return how often a run was started."""
    return len(run.command.read_text().splitlines())


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait until a condition is true and return its value; fail if the process ends first."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if value := condition():
            return value
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the condition did not become true")


def assert_same_runs(folder: Path, other: Path) -> None:
    """Assert that the runs in a folder equal those in another, except for times and restarts."""
    mine, theirs = runs_in(folder), runs_in(other)
    assert mine.keys() <= theirs.keys()
    for name, run in mine.items():
        _assert_same_run(run, theirs[name])


def _assert_same_run(run: Run, other: Run) -> None:
    assert run.is_finished
    assert other.is_finished
    assert _files(run) == _files(other)
    assert _settings(run) == _settings(other)
    assert set(_words(run)) == set(_words(other))
    assert _log(run) == _log(other)
    mine, theirs = (torch.load(r.final_weights, weights_only=True) for r in (run, other))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    for figure in run.figures.iterdir():
        assert figure.read_bytes() == (other.figures / figure.name).read_bytes()


def _files(run: Run) -> set[str]:
    paths = (path.relative_to(run.folder) for path in run.folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if not path.name.startswith((".lock", "events."))}


def _settings(run: Run) -> dict[str, Any]:
    return {**yaml.safe_load(run.config.read_text()), "log_dir": None}


def _words(run: Run) -> list[str]:
    """Return the words of the command, without the value of ``--log-dir``."""
    words = run.command.read_text().split()
    return [word for word in words if words[words.index(word) - 1] != "--log-dir"]


def _log(run: Run) -> list[dict[str, str]]:
    with run.progress.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]
