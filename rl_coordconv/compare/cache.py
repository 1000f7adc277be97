"""Parsed runs are kept, so that a report over many long runs is fast the second time.

A kept run counts as long as the size and the time of every file that it was read from are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from rl_coordconv.compare.results import RunResult
from rl_coordconv.runs.files import atomic_write

_FORMAT = 2  # raise it whenever what is read, or how, changes
_ARRAYS = ("steps", "hours", "returns", "evaluation_steps", "evaluation_returns")
_PLAIN = tuple(f.name for f in fields(RunResult) if f.name not in (*_ARRAYS, "folder"))


def cache_folder() -> Path:
    """``rl_coordconv`` in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rl_coordconv"


def read_cached(
    folder: Path, files: Sequence[Path], words: str, read: Callable[[], RunResult]
) -> RunResult:
    """What ``read`` returns, or returned when the same files were read before.

    Args:
        folder: Of the run.
        files: Everything that ``read`` reads.
        words: What else decides the result.
        read: Called if nothing is kept, or if a file has changed.
    """
    # Taken before reading: a file that grows meanwhile makes the kept run stale, not wrong.
    marks = json.dumps([_FORMAT, words, *map(_mark, files)])
    name = hashlib.sha256(f"{folder.resolve()} {words}".encode()).hexdigest()[:24]
    kept = cache_folder() / f"{name}.npz"
    result = _load(kept, marks, folder)
    if result is None:
        result = read()
        _save(kept, marks, result)
    return result


def _mark(file: Path) -> list[object]:
    try:
        status = file.stat()
    except OSError:
        return [file.name]
    return [file.name, status.st_size, status.st_mtime_ns]


def _load(kept: Path, marks: str, folder: Path) -> RunResult | None:
    try:
        # Opened here: NumPy leaves a torn file open.
        with kept.open("rb") as file, np.load(file, allow_pickle=False) as content:
            if str(content["marks"]) != marks:
                return None
            plain = json.loads(str(content["plain"]))
            notes = tuple(plain.pop("notes"))
            arrays = {name: content[name] for name in _ARRAYS}
            return RunResult(folder=folder, notes=notes, **plain, **arrays)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None


def _save(kept: Path, marks: str, result: RunResult) -> None:
    plain = {name: getattr(result, name) for name in _PLAIN}
    arrays = {name: getattr(result, name) for name in _ARRAYS}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(kept) as file:
            np.savez(
                file,
                marks=np.array(marks),
                plain=np.array(json.dumps(plain, default=str)),
                **arrays,
            )
    except OSError:
        return  # a cache that cannot be written costs time, not the report
