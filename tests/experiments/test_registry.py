"""The registry of experiments, and the main function that their scripts share."""

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from rl_coordconv import experiments
from rl_coordconv.commands import COMMANDS
from rl_coordconv.experiments import EXPERIMENTS, find_experiment
from rl_coordconv.runs.config import Config, UserError

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_entry_names_existing_modules_and_files(name):
    experiment = find_experiment(name)
    config_class = experiment.config_class()
    assert issubclass(config_class, Config)
    assert get_args(config_class.model_fields["experiment"].annotation) == (name,)
    assert list(inspect.signature(experiment.train()).parameters) == ["config", "run", "callbacks"]
    assert experiment.command in COMMANDS
    assert (CONFIGS / experiment.defaults).exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_defaults_are_a_config(name):
    experiment = find_experiment(name)
    config_class = experiment.config_class()
    config = config_class.load(config_class.find_defaults(CONFIGS / experiment.defaults, {}))
    assert config.experiment == name
    assert config.folder.parts[:2] == ("runs", name)
    assert config.length > 0


def test_every_folder_of_an_experiment_is_registered():
    package = ROOT / "rl_coordconv" / "experiments"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert folders == {experiment.module for experiment in EXPERIMENTS.values()}


def test_an_unknown_experiment_is_a_one_sentence_error():
    with pytest.raises(UserError, match=r"^There is no experiment 'a3c'; did you mean a2c\?$"):
        find_experiment("a3c")


def test_listing_the_experiments_imports_none_of_them():
    code = """
import sys
from rl_coordconv.experiments import EXPERIMENTS
assert EXPERIMENTS
heavy = {"torch", "stable_baselines3", "ale_py", "gymnasium", "ray", "torchvision"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert not [name for name in sys.modules if name.startswith("rl_coordconv.experiments.")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


TINY_TOY = ("--canvas", "32", "--square", "21", "--n-epochs", "1", "--num-threads", "1")


@pytest.fixture
def environment(monkeypatch):
    """The process's environment, restored after the test."""
    for name in experiments.ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_main_trains_once_only(tmp_path, environment, capsys):
    argv = ["--log-dir", str(tmp_path), "--device", "cpu", *TINY_TOY]
    assert experiments.main("toy", "A test.", argv) == 0
    (config,) = tmp_path.rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["experiment"] == "toy"
    assert (config.parent / "DONE").exists()
    assert not experiments.ENVIRONMENT.keys() & os.environ.keys()  # those are for emulators
    capsys.readouterr()
    assert experiments.main("toy", "A test.", argv) == 0
    assert "is already finished" in capsys.readouterr().out


def test_a_mistake_gives_one_sentence_and_exit_code_2(environment, capsys):
    with pytest.raises(SystemExit) as exit_:
        experiments.main("toy", "A test.", ["--sed", "1"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "There is no flag --sed; did you mean --seed?\n"


def test_help_describes_the_script_and_its_defaults(environment, monkeypatch, capsys):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with pytest.raises(SystemExit) as exit_:
        experiments.main("a2c", "A description.", ["--help"])
    assert exit_.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "A description." in out
    assert "--total-timesteps" in out
    assert "(default: 10000000)" in out
    assert os.environ["OMP_WAIT_POLICY"] == "active"  # the user's value takes precedence
    assert os.environ["GOMP_SPINCOUNT"] == "10000"


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_help_gives_the_unit_of_save_freq(name):
    config_class = experiments.EXPERIMENTS[name].config_class()
    unit = config_class.unit
    assert config_class.flags()["save_freq"].description == f"{unit} between checkpoints"
