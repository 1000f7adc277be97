"""Run the files in ``scripts/`` in this process."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"

GAME_RUN_FILES = {
    "DONE",
    "best_model.zip",
    "checkpoints",
    "command.txt",
    "config.yaml",
    "episodes.csv",
    "evaluations.csv",
    "final_model.zip",
    "progress.csv",
    "versions.json",
}
"""Files and folders in the run folder of a finished training on a game."""


def load_script(name: str) -> ModuleType:
    """Import a new copy of a script, by its name without ``.py``."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_script(name: str, *arguments: object) -> int:
    """Call a script's ``main`` and return the exit code."""
    code: int = load_script(name).main([str(argument) for argument in arguments])
    return code


def mistake(capsys, name: str, *arguments: object) -> str:
    """Call a script's ``main`` with a mistake, and return its one sentence on stderr."""
    with pytest.raises(SystemExit) as stop:
        run_script(name, *arguments)
    assert stop.value.code == 2
    error: str = capsys.readouterr().err
    assert error.count("\n") == 1
    return error
