"""Read the files of Stable-Baselines3 and rl-zoo3: monitors, evaluations and arguments.

Damaged files are read as far as possible; a file without anything to read raises a `BrokenRun`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rl_coordconv.compare.results import Array, BrokenRun, read_columns
from rl_coordconv.names import NAMES


@dataclass(frozen=True)
class Monitor:
    """The games of one ``monitor.csv``.

    Attributes:
        games: Session, length, Unix time at the end, and score of each game ``[games, 4]``.
        env_id: The environment's name; empty if unknown.
        notes: Remarks about damage and sessions.
    """

    games: Array
    env_id: str
    notes: tuple[str, ...]


def read_monitor(path: Path) -> Monitor:
    """Read a ``monitor.csv``, which may contain several sessions in sequence.

    A session ends where ``t``, the seconds since its start, decreases: `Monitor` appends to an
    existing file with ``override_existing=False``.

    Raises:
        BrokenRun: It is damaged.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\0", "")
    start, env_id, is_damaged = 0.0, "", False
    if text.startswith("#"):
        line, _, text = text.partition("\n")
        try:
            head = json.loads(line[1:])
            start, env_id = float(head["t_start"]), head.get("env_id")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            is_damaged = True
    rows, notes = read_columns(text, path.name, ("l", "t", "r"))
    if is_damaged or not np.isfinite(start):
        if not len(rows):
            raise BrokenRun(f"{path.name} is damaged")
        start, notes = 0.0, (*notes, f"the first line of {path.name} is damaged")
    session = np.cumsum(np.diff(rows[:, 1], prepend=rows[:1, 1]) < 0)
    games = np.column_stack([session, rows[:, 0], rows[:, 1] + start, rows[:, 2]])
    if session.any():
        notes = (*notes, f"{path.name} contains {session[-1] + 1} sessions in sequence")
    return Monitor(games, env_id if isinstance(env_id, str) else "", notes)


def read_evaluations(path: Path) -> Array:
    """Return step and score of each game in ``evaluations.npz`` ``[games, 2]``, sorted by step.

    Raises:
        BrokenRun: It is damaged.
    """
    try:
        # Opened here because `np.load` leaves a truncated file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            steps, results = content["timesteps"], content["results"]
        rows = [
            np.column_stack([np.full(len(games), step), games]).astype(float)
            for step, games in zip(steps, np.atleast_2d(results), strict=True)
        ]
    # Damaged bytes raise errors of zipfile, zlib, tokenize, NumPy and more.
    except Exception:
        raise BrokenRun(f"{path.name} is damaged") from None
    games = np.concatenate([np.empty((0, 2)), *rows])
    games = games[np.isfinite(games).all(axis=1)]
    return np.asarray(games[np.argsort(games[:, 0], kind="stable")])


@dataclass(frozen=True)
class ZooArguments:
    """The arguments of a run of rl-zoo3.

    Attributes:
        named: ``algo``, ``env``, ``seed`` and ``trained_agent``, where known.
        settings: The hyperparameters, and the ``extractor``, where known.
    """

    named: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_zoo(folder: Path) -> ZooArguments:
    """Read ``*/args.yml`` and ``*/config.yml`` in the folder of a run of rl-zoo3."""
    named: dict[str, str] = {}
    for path in sorted(folder.glob("*/args.yml")):
        arguments = _read_yaml(path)
        keys = ("algo", "env", "seed", "trained_agent")
        named |= {key: str(arguments[key]) for key in keys if arguments.get(key) not in (None, "")}
    settings: dict[str, Any] = {}
    for path in sorted(folder.glob("*/config.yml")):
        settings |= {str(key): value for key, value in _read_yaml(path).items()}
    if settings:
        settings["extractor"] = _extractor(settings)
        if not any("lin_" in str(value) for value in settings.values()):
            settings.pop("n_timesteps", None)  # it affects only the length
    for key in ("policy_kwargs", "seed"):
        settings.pop(key, None)
    return ZooArguments(named, settings)


class _PlainLoader(yaml.SafeLoader):
    """A YAML loader that reads tagged Python objects as plain data: a name, a list or a dict."""

    def plain(self, suffix: str, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return node.value or suffix.rpartition(".")[2]
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        assert isinstance(node, yaml.MappingNode)
        return self.construct_mapping(node, deep=True)


_PlainLoader.add_multi_constructor("", _PlainLoader.plain)


def _read_yaml(path: Path) -> dict[Any, Any]:
    """Return the dict that rl-zoo3 writes as ``[[[key, value], ...]]``; empty if it is damaged."""
    try:
        content = yaml.load(path.read_bytes(), _PlainLoader)
        return content if isinstance(content, dict) else dict(*content)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OSError):
        return {}


def _extractor(settings: dict[str, Any]) -> str:
    """Return the extractor in rl-zoo3's settings; if it is this package's, as in `EXTRACTORS`."""
    kwargs = settings.get("policy_kwargs") or {}
    text = kwargs if isinstance(kwargs, str) else repr(kwargs)
    named = re.search(r"features_extractor_class\W+([\w.]+)", text)
    if not named:
        return "default"
    name = named[1].rpartition(".")[2]
    inner = re.search(r"features_extractor_kwargs\W+(\{[^}]*\}|dict\([^)]*\))", text)

    def value(key: str) -> str | None:
        found = re.search(rf"{key}\W+(\w+)", text)
        return found[1] if found and found[1] != "None" else None

    network = {"CoordNatureCNN": "nature", "CoordImpalaCNN": "impala"}.get(name)
    own = {
        "coordinates": value("coordinates") or "first",
        "with_r": value("with_r") == "True",
        "control": value("control"),
        "global_pooling": value("global_pooling") == "True",
    }
    usual = {"with_r": False, "control": None, "global_pooling": False}
    for extractor, (its_network, its_settings) in NAMES.items():
        if its_network == network and usual | its_settings == own:
            return extractor
    return f"{name} {inner[1]}" if inner else name


def names_evaluation(parts: Sequence[str]) -> bool:
    """Return whether a path contains a word for evaluation, such as ``eval`` or ``test``.

    >>> [names_evaluation([name]) for name in ("eval_0.monitor.csv", "evaluated", "0.monitor.csv")]
    [True, False, False]
    """
    words = {word for part in parts for word in re.split(r"[^a-z]+", part.lower())}
    return bool(
        words & {"eval", "evals", "evaluation", "evaluations", "test", "val", "valid", "validation"}
    )
