"""Loading of trained agents from run folders and other Stable-Baselines3 files."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import ConstantSchedule

from rl_coordconv.envs.config import GameConfig
from rl_coordconv.experiments import find_experiment
from rl_coordconv.experiments.atari.config import ALGORITHMS, AtariConfig
from rl_coordconv.experiments.atari.train import pickled_classes
from rl_coordconv.runs.config import UserError, nearest
from rl_coordconv.runs.folder import Run, read_settings
from rl_coordconv.runs.hints import nearest_path

# Replacements for objects in the file that are not needed to play: a replay buffer can take
# gigabytes, and functions that another version of Python pickled cannot be loaded.
_UNNEEDED = {
    "buffer_size": 1,
    "optimize_memory_usage": False,
    "learning_rate": 0.0,
    "lr_schedule": ConstantSchedule(0.0),
    "clip_range": ConstantSchedule(0.0),
    "exploration_schedule": ConstantSchedule(0.0),
}


@dataclass(frozen=True)
class Agent:
    """A trained agent and its origin.

    Attributes:
        model: The agent.
        folder: Where to save its results: the run folder, or the folder of the file.
        checkpoint: The name of the agent in its run: ``final``, ``best``, or a checkpoint such as
            ``step-0000001000``; otherwise the file's name without ``.zip``.
        run: Its run; None for a file that is not from a run folder.
        config: The settings of the run.
    """

    model: BaseAlgorithm
    folder: Path
    checkpoint: str
    run: Run | None = None
    config: GameConfig | None = None


def load_agent(
    path: Path,
    *,
    checkpoint: str = "final",
    algo: str | None = None,
    trust: bool = False,
    device: str = "auto",
) -> Agent:
    """Load a trained agent.

    Loading a Stable-Baselines3 file unpickles Python objects, which can run arbitrary code. Files
    in run folders are trusted. Any other file is loaded only with ``trust``, or if a file with the
    same content was loaded with ``trust`` before.

    Args:
        path: A run folder, a folder above a single run, a file in a run folder, or any other
            ``.zip`` of Stable-Baselines3.
        checkpoint: The agent of a run folder: ``final``, ``best``, ``newest``, or a checkpoint
            by its name or step. An unfinished run has no final agent, so its newest checkpoint is
            loaded.
        algo: One of `ALGORITHMS`; None detects it from the file.
        trust: Load a file that is not from a run folder, and remember its content as trusted.
        device: A torch device, or ``auto``.

    Raises:
        UserError: There is no such agent, it cannot be loaded, or it is not trusted.
    """
    if not path.exists():
        raise UserError(f"There is no agent {path}{nearest_path(path)}")
    run = _only_run(path) if path.is_dir() else _run_of(path.resolve())
    config = None if run is None else read_config(run)
    if path.is_dir() and run:
        file = _model_file(run, checkpoint)
    elif checkpoint != "final":
        raise UserError(f"--checkpoint needs a run folder, but {path} is a file.")
    else:
        file = path.resolve() if run else path.absolute()
    if run is None and not (trust or _is_trusted(file)):
        raise UserError(
            f"Loading {file} runs the pickled Python code in it; if you trust its source,"
            " add --trust once."
        )
    model_class = _model_class(algo or (config.algorithm if config else _algorithm_of(file)))
    custom_objects = _UNNEEDED
    if isinstance(config, AtariConfig):
        custom_objects = custom_objects | pickled_classes(config)
    try:
        model = model_class.load(file, device=device, custom_objects=custom_objects)
    except Exception as error:  # code in a pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} cannot be loaded: {reason}.") from None
    if run is None:
        _remember_trust(file)
        return Agent(model, file.parent, file.stem)
    return Agent(model, run.folder, file.stem.removesuffix("_model"), run, config)


def read_config(run: Run) -> GameConfig:
    """Return the settings of a run of an agent, of any experiment on games.

    Raises:
        UserError: The folder contains no such run.
    """
    try:
        settings = read_settings(run)
        config_class = find_experiment(settings["experiment"]).config_class()
        config = config_class.model_validate(settings)
    except (UserError, ValidationError):
        config = None
    if not isinstance(config, GameConfig):
        raise UserError(f"{run.folder} contains no run of an Atari agent.")
    return config


def _is_trusted(file: Path) -> bool:
    """Return whether a file with the same content was trusted before."""
    try:
        return _digest(file) in _trusted_list().read_text(encoding="utf-8").split()
    except (OSError, RuntimeError, ValueError):  # no list, no home folder, or a damaged list
        return False


def _remember_trust(file: Path) -> None:
    # Trust by content, not by folder: downloads may be in the working folder, too.
    with suppress(OSError, RuntimeError):  # then --trust is needed again
        if not _is_trusted(file):
            _trusted_list().parent.mkdir(parents=True, exist_ok=True)
            with _trusted_list().open("a", encoding="utf-8") as known:
                known.write(f"{_digest(file)}\n")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _trusted_list() -> Path:
    """Return the path of the list of trusted hashes, which is similar to torch.hub's."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "rl_coordconv" / "trusted_list"


def _only_run(folder: Path) -> Run:
    """Return the only Atari run in or below a folder."""
    if _is_atari(Run(folder)):
        return Run(folder)
    below = (Run(file.parent) for file in sorted(folder.rglob("config.yaml")))
    runs = [run for run in below if _is_atari(run)]
    if len(runs) == 1:
        return runs[0]
    if runs:
        raise UserError(f"{folder} contains {len(runs)} runs; pass one, such as {runs[0].folder}.")
    agents = sorted(folder.rglob("*.zip"))
    hint = f"; to load a single file, pass its path: {agents[0]}" if agents else ""
    raise UserError(f"{folder} contains no run of an Atari agent{hint}.")


def _is_atari(run: Run) -> bool:
    try:
        read_config(run)
    except UserError:
        return False
    return True


def _run_of(path: Path) -> Run | None:
    """Return the run that a file belongs to; None for any other file."""
    run = Run(path.parent.parent if path.parent.name == "checkpoints" else path.parent)
    is_saved = path in (run.final_model, run.best_model, *run.saved)
    return run if is_saved and _is_atari(run) else None


def _model_file(run: Run, checkpoint: str) -> Path:
    candidates = {
        "final": [run.final_model, *run.saved],
        "best": [run.best_model],
        "newest": run.saved,
        **{file.stem: [file] for file in run.saved},
    }
    if (number := checkpoint.removeprefix("step-")).isdecimal():
        checkpoint = f"step-{int(number):010d}"
    if checkpoint not in candidates:
        raise UserError(f"There is no checkpoint {checkpoint!r}; {nearest(checkpoint, candidates)}")
    found = next((file for file in candidates[checkpoint] if file.exists()), None)
    if found is None:
        raise UserError(f"The run in {run.folder} has saved no {checkpoint} agent yet.")
    return found


def _algorithm_of(file: Path) -> str:
    """Detect the algorithm of a file from the JSON in it, without unpickling anything."""
    try:
        with zipfile.ZipFile(file) as archive:
            data: dict[str, Any] = json.loads(archive.read("data"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise UserError(f"{file} is not an agent saved by Stable-Baselines3.") from None
    if "qrdqn" in str(data.get("policy_class")):
        return "qrdqn"
    settings = {"exploration_fraction": "dqn", "clip_range": "ppo", "gae_lambda": "a2c"}
    found = next((algo for key, algo in settings.items() if key in data), None)
    if found is None:
        raise UserError(f"Cannot detect the algorithm of {file}; pass it with --algo.")
    return found


def _model_class(algo: str) -> type[BaseAlgorithm]:
    if algo not in ALGORITHMS:
        raise UserError(f"There is no algorithm {algo!r}; {nearest(algo, ALGORITHMS)}")
    package = "sb3_contrib" if algo == "qrdqn" else "stable_baselines3"
    try:
        found: type[BaseAlgorithm] = getattr(import_module(package), algo.upper())
    except ImportError:
        raise UserError("QRDQN needs sb3-contrib: pip install sb3-contrib.") from None
    return found
