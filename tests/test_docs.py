"""The Python examples of README and of the pages, run as they are, with small numbers."""

from __future__ import annotations

import re
import runpy
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from games import WhereIsTheSquare
from PIL import Image
from stable_baselines3.common.env_util import make_vec_env
from torch.testing import assert_close

from rl_coordconv import experiments
from rl_coordconv.envs.play import GAME_COLUMNS
from rl_coordconv.experiments import make_config, train
from rl_coordconv.experiments.atari.agents import load_agent
from rl_coordconv.experiments.atari.hub import make_hub_folder
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import write_rows
from rl_coordconv.runs.folder import Run

ROOT = Path(__file__).parents[1]
Namespace = dict[str, Any]

# A game of Klax is soon over: for one of two, in 40 random plays, after 188 to 268 steps of both.
SMALLER = {"1_000_000": "400", "50_000": "10", "MsPacman": "Klax", "n_envs=16": "n_envs=2"}
TINY = {"env": "Klax", "n_envs": 2, "n_steps": 50, "eval_freq": 0, "log_interval": 1}
TINY |= {"num_threads": 1}


def blocks(page: str, heading: str, language: str = "python") -> list[str]:
    """The code of a section."""
    (section,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", (ROOT / page).read_text(), re.M | re.S
    )
    return re.findall(rf"```{language}\n(.*?)```", section, re.S)


def sections(page: str) -> list[str]:
    """The headings under which there is Python."""
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.M)
    return [heading for heading in headings if blocks(page, heading)]


@pytest.fixture
def run_block(tmp_path, monkeypatch) -> Callable[..., Namespace]:
    """Run a block of code in an empty folder, as a script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    configs = tmp_path / "configs"
    configs.mkdir()
    values = yaml.safe_load((ROOT / "configs/a2c.yaml").read_text()) | TINY
    (configs / "a2c.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setattr(experiments, "CONFIGS", configs)

    def run_block(code: str, arguments: str = "", **given: object) -> Namespace:
        for large, small in SMALLER.items():
            code = code.replace(large, small)
        file = tmp_path / "example.py"
        file.write_text(code)
        monkeypatch.setattr(sys, "argv", [str(file), *arguments.split()])
        return runpy.run_path(str(file), given, "__main__")

    return run_block


def folders(root: str = "runs") -> list[str]:
    """The finished runs, by their last two folders."""
    return sorted("/".join(done.parts[-3:-1]) for done in Path(root).rglob("DONE"))


@pytest.mark.parametrize("page", ["docs/python.md", "docs/recipes.md"])
def test_every_section_with_python_is_run_here(page):
    text = Path(__file__).read_text()
    assert all(f'"{page}", "{heading}"' in text for heading in sections(page))


def test_the_example_of_the_readme(run_block):
    (code,) = blocks("README.md", "Use it in your own Stable-Baselines3 project")
    run_block(code.replace("1_000_000", "10"), env=make_vec_env(WhereIsTheSquare))


def test_using_the_speedups_alone(run_block):
    (code,) = blocks("docs/performance.md", "Using parts in your own project")
    names = run_block(code)
    names["model"].learn(2 * 5 * 2)
    names["env"].close()


class TestFromPython:
    def test_one_run(self, run_block, capsys):
        names = run_block(*blocks("docs/python.md", "One run"))
        assert folders() == ["coordconv/seed-0"]
        assert f"{names['result'].score}\n" in capsys.readouterr().out
        assert names["model"].num_timesteps == 400

    def test_a_loop(self, run_block):
        (code,) = blocks("docs/python.md", "A loop")
        run_block(code.replace("range(3)", "range(1)"))
        assert folders() == ["coordconv-learning_rate-0.0003/seed-0", "coordconv/seed-0"]

    def test_optuna(self, run_block):
        import optuna

        (code,) = blocks("docs/python.md", "Optuna, with pruning")
        study = (names := run_block(code.replace("n_trials=20", "n_trials=1")))["study"]
        (trial,) = study.trials
        assert trial.state is optuna.trial.TrialState.COMPLETE
        assert trial.value == list(trial.intermediate_values.values())[-1]
        study.pruner = optuna.pruners.ThresholdPruner(lower=1e6)
        study.optimize(names["objective"], n_trials=1)
        assert study.trials[1].state is optuna.trial.TrialState.PRUNED
        assert len(folders()) == 1

    def test_hydra(self, run_block):
        (code,) = blocks("docs/python.md", "Hydra")
        (shell,) = blocks("docs/python.md", "Hydra", "bash")
        (arguments,) = re.findall(r"^python hydra_a2c.py (--multirun .*)", shell, re.M)
        small = "seed=0 total_timesteps=20 hydra/job_logging=none hydra/hydra_logging=none"
        run_block(code, arguments.replace("seed=0,1,2", small))
        assert folders() == ["coordconv/seed-0", "nature/seed-0"]

    @pytest.mark.slow
    def test_weights_and_biases(self, run_block, monkeypatch):
        import wandb

        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("WANDB_SILENT", "true")
        run_block(*blocks("docs/python.md", "Weights & Biases"))
        wandb.teardown()  # waits until the file is complete
        (log,) = Path("wandb").glob("offline-run-*/*.wandb")
        assert b"train/value_loss" in log.read_bytes()


@pytest.fixture(scope="module")
def _trained(tmp_path_factory) -> Run:
    settings = {**TINY, "log_dir": str(tmp_path_factory.mktemp("docs")), "total_timesteps": 400}
    run = train(make_config("a2c", **settings)).run
    rows = [
        (100, 0, 9e9, 400, "classic", "stochastic", 0, "final"),  # before the run was extended
        (400, 0, 9e9, 400, "classic", "stochastic", "training", "training"),
        (400, 0, 9e9, 400, "classic", "stochastic", 0, "best"),
        (400, 0, 100.0, 400, "classic", "stochastic", 0, "final"),
        (400, 1, 300.0, 400, "classic", "stochastic", 0, "final"),
        (400, 0, 50.0, 400, "sticky", "deterministic", 0, "final"),
    ]
    write_rows(
        run.evaluations, GAME_COLUMNS, [dict(zip(GAME_COLUMNS, r, strict=True)) for r in rows]
    )
    return run


@pytest.fixture
def run(_trained, run_block) -> Run:
    """A copy of a run, in the folder that the recipes name."""
    return Run(shutil.copytree(_trained.folder, Path("runs/a2c/Klax/coordconv/seed-0")))


class TestRecipes:
    def test_a_notebook(self, run, run_block, monkeypatch):
        shown = SimpleNamespace(Image=mock.Mock())
        monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
        monkeypatch.setitem(sys.modules, "IPython.display", shown)
        run_block(*blocks("docs/recipes.md", "Watch an agent in a notebook"))
        shown.Image.assert_called_once_with("game.gif")
        with Image.open("game.gif") as game:
            assert game.n_frames > 50

    def test_pandas(self, run, run_block):
        names = run_block(*blocks("docs/recipes.md", "Plot the training games with pandas"))
        (line,) = names["plt"].gca().get_lines()
        assert line.get_label() == "coordconv, seed-0"
        assert len(line.get_ydata()) == len(run.episodes.read_text().split()) - 1 > 0
        assert Path("games.png").stat().st_size > 1000
        names["plt"].close()

    def test_the_callback(self, run_block):
        names = run_block(*blocks("docs/recipes.md", "See what the coordinates do"))
        names["env"].close()
        names["model"].logger.dump(400)
        (log,) = Path("logs").rglob("events.*")
        for tag in ("coord/weight_share/cnn.0", "coord/positional_map/cnn.0"):
            assert tag.encode() in log.read_bytes()

    @pytest.mark.filterwarnings("ignore")  # those of torch's exporter
    def test_onnx(self, run, run_block):
        names = run_block(*blocks("docs/recipes.md", "Export an agent to ONNX"))
        images = torch.randint(256, (5, 4, 84, 84), dtype=torch.uint8)  # another number of images
        logits, values = names["session"].run(None, {"images": images.numpy()})
        policy = names["agent"].model.policy
        with torch.no_grad():
            expected = policy.get_distribution(images).distribution.logits
            assert_close(torch.tensor(logits).log_softmax(1), expected, rtol=1e-4, atol=1e-5)
            assert_close(torch.tensor(values), policy.predict_values(images), rtol=1e-4, atol=1e-5)

    def test_the_hub(self, run, run_block):
        from huggingface_hub import HfApi, ModelCard

        (run.folder / "videos").mkdir()
        (run.folder / "videos" / "final-step-0000000400.mp4").touch()
        build, push = blocks("docs/recipes.md", "Push an agent to the Hugging Face Hub")
        run_block(build)
        with (
            mock.patch.object(HfApi, "create_repo", autospec=True),
            mock.patch.object(HfApi, "upload_folder", autospec=True) as upload,
        ):
            run_block(push)
        folder = Path(upload.call_args.kwargs["folder_path"])
        assert {file.name for file in folder.iterdir()} == {
            *("README.md", "config.yaml", "final_model.zip", "replay.mp4", "versions.json"),
            *("episodes.csv", "evaluations.csv", "progress.csv"),
        }
        card = ModelCard.load(folder / "README.md")
        assert card.data.library_name == "stable-baselines3"
        assert card.data.tags[1:] == [
            "reinforcement-learning",
            "stable-baselines3",
            "Klax",
            "coordconv",
        ]
        classic, sticky = card.data.eval_results
        assert (classic.dataset_type, classic.metric_value) == (
            "KlaxNoFrameskip-v4",
            "200.00 +/- 100.00",
        )
        assert (sticky.dataset_type, sticky.metric_value) == ("ALE/Klax-v5", "50.00 +/- 0.00")
        assert "| classic | stochastic | 2 | 200.0 | 100.0 | 100.0 to 300.0 |" in card.text
        assert classic.dataset_name == "Klax, classic protocol, stochastic actions"
        assert "400 steps, 1,600 frames, classic protocol, seed 0" in card.text
        assert f"torch {version('torch')}" in card.text

    def test_the_folder_for_the_hub_is_a_run_folder(self, run):
        make_hub_folder(run.folder, Path("hub"))
        agent = load_agent(Path("hub"))
        assert (agent.config.log_dir, agent.model.num_timesteps) == ("runs", 400)
        (command,) = re.findall(r"(--config \S+)", Path("hub/README.md").read_text())
        assert command == "--config FOLDER/config.yaml"
        again = make_config("a2c", config="hub/config.yaml")  # as the card's command
        assert again == make_config("a2c", total_timesteps=400)

    @pytest.mark.parametrize(
        ("spoil", "sentence"),
        [
            (lambda run: run.final_model.unlink(), "is not the folder of a finished run"),
            (
                lambda run: run.evaluations.unlink(),
                "Evaluate the agent first: python ",
            ),
            (lambda run: Path("hub").mkdir(), "hub exists; delete it or choose another folder"),
        ],
    )
    def test_a_folder_for_the_hub_that_cannot_be_made(self, run, spoil, sentence):
        spoil(run)
        with pytest.raises(UserError, match=sentence):
            make_hub_folder(run.folder, Path("hub"))
        assert not Path("hub/README.md").exists()
