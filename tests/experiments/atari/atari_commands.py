"""Functions that run the Atari scripts on the real game."""

from __future__ import annotations

import base64
import csv
import json
import zipfile
from pathlib import Path

import sb3_contrib
import stable_baselines3

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.runs.folder import Run
from scripts import load_script

ROOT = Path(__file__).parents[3]
TINY = {
    "a2c": "--n-envs 2 --eval-episodes 1 --log-interval 2 --num-threads 1",
    "ppo": "--n-envs 2 --eval-episodes 1 --num-threads 1 --n-steps 16 --batch-size 16",
}
SHORT_FLAGS = "--total-timesteps 100 --eval-freq 0 --save-freq 60"


def arguments(name: str, folder: Path, flags: str) -> list[str]:
    return [*TINY[name].split(), "--log-dir", str(folder), *flags.split()]


def train(name: str, folder: Path, flags: str) -> Run:
    assert load_script(f"train_{name}").main(arguments(name, folder, flags)) == 0
    return only_run(folder)


def only_run(folder: Path) -> Run:
    (config,) = folder.rglob("config.yaml")
    return Run(config.parent)


def evaluate(*arguments: object) -> int:
    """Run `scripts/evaluate.py` and return its exit code."""
    try:
        flags = [*map(str, arguments), "--device", "cpu", "--n-envs", "2"]
        return load_script("evaluate").main(flags)
    except SystemExit as end:
        return end.code


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def save_elsewhere(path: Path, algorithm: str, **settings: object) -> Path:
    """Save an untrained agent of plain Stable-Baselines3."""
    env = make_atari_env("MsPacman", 1, backend="sb3")
    module = sb3_contrib if algorithm == "QRDQN" else stable_baselines3
    getattr(module, algorithm)("CnnPolicy", env, device="cpu", **settings).save(path)
    env.close()
    return path


def rename_classes(file: Path) -> None:
    """Make an agent's file name classes of its policy that have moved since it was saved."""
    pickle = base64.b64encode(b"crl_coordconv.policy\nLeanCnnPolicy\n.").decode()
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"])
    for name in ("policy_class", "policy_kwargs", "rollout_buffer_class"):
        data[name] = {":type:": "a class", ":serialized:": pickle}
    members["data"] = json.dumps(data).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
