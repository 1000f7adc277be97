"""Stored studies: the finished runs of a study in a few compressed files.

A stored study is a folder with ``runs.json.gz``, the settings and versions of each run by name
(``a2c/MsPacman/coordconv/seed-0``), and one table per log: ``episodes.csv.gz``,
``evaluations.csv.gz`` and ``progress.csv.gz``. The first column of a table, ``run``, is the run's
name; the others are the columns of all runs' logs, blank where a run does not have the column. The
same runs always give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write, require_folder
from rl_coordconv.runs.folder import Run, read_settings

TABLES = ("episodes", "evaluations", "progress")
_INDEX = "runs.json.gz"
_LEVELS = 4  # of a run's name: experiment, task, variant, seed


@dataclass(frozen=True)
class StoredRun:
    """A run that was read from a run folder or from a stored study.

    Attributes:
        folder: The run folder; in a stored study, the study's folder joined with the run's name.
        name: Such as ``a2c/MsPacman/coordconv/seed-0``.
        settings: The contents of ``config.yaml``.
        versions: The contents of ``versions.json``; empty if there is none.
        tables: The logs as CSV text, by their names in `TABLES`.
    """

    folder: Path
    name: str
    settings: dict[str, Any]
    versions: dict[str, str | None]
    tables: Mapping[str, str]

    def rows(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a log; none if the run has no such log.

        An incomplete last row is ignored.

        Raises:
            UserError: The log is damaged.
        """
        text = self.tables.get(table, "")
        try:
            head, *lines = csv.reader(text[: text.rfind("\n") + 1].splitlines() or [""])
            return [dict(zip(head, line, strict=True)) for line in lines]
        except (csv.Error, ValueError):
            raise UserError(f"{table}.csv of the run in {self.folder} is damaged.") from None


def is_stored_study(folder: Path) -> bool:
    """Return whether a folder is a stored study."""
    return (folder / _INDEX).exists()


def stored_runs(folder: Path, tables: Sequence[str] = TABLES) -> list[StoredRun]:
    """Read all run folders and stored studies in and below a folder.

    Raises:
        UserError: A file is damaged or cannot be read.
    """
    single = [read_stored_run(file.parent, tables) for file in folder.rglob("config.yaml")]
    stored = [run for file in folder.rglob(_INDEX) for run in read_stored_study(file.parent)]
    return sorted([*single, *stored], key=lambda run: run.folder)


def read_stored_run(folder: Path, tables: Sequence[str] = TABLES) -> StoredRun:
    """Read a run folder.

    Args:
        folder: The run folder.
        tables: The logs to read; missing ones are skipped.

    Raises:
        UserError: A file is damaged or cannot be read.
    """
    run = Run(folder)
    settings = read_settings(run)
    name = "/".join(folder.resolve().parts[-_LEVELS:])
    files = {table: folder / f"{table}.csv" for table in tables}
    texts: dict[str, str] = {}
    file = run.versions
    try:
        versions = json.loads(file.read_text("utf-8")) if file.exists() else {}
        for table, file in files.items():
            if file.exists():
                # Replace bytes that are not UTF-8: only their row is then damaged, not the log.
                texts[table] = file.read_text("utf-8", errors="replace")
    except (OSError, ValueError):
        raise UserError(f"{file} cannot be read.") from None
    return StoredRun(folder, name, settings, versions, texts)


def read_stored_study(folder: Path) -> list[StoredRun]:
    """Read a stored study; columns in which all of a run's rows are blank are removed.

    Raises:
        UserError: A file is missing, damaged or cannot be read.
    """
    file = folder / _INDEX
    try:
        index = json.loads(gzip.decompress(file.read_bytes()))
        tables: dict[str, dict[str, str]] = {name: {} for name in index}
        for table in TABLES:
            file = folder / f"{table}.csv.gz"
            if file.exists():
                text = gzip.decompress(file.read_bytes()).decode("utf-8")
                for name, own in _split(text).items():
                    tables[name][table] = own
        return [
            StoredRun(folder / name, name, about["settings"], about["versions"], tables[name])
            for name, about in index.items()
        ]
    except (OSError, EOFError, zlib.error, csv.Error, ValueError, KeyError, TypeError):
        raise UserError(f"{file} is damaged.") from None


def has_weights(run: StoredRun) -> bool:
    """Return whether a run is in the run folder of a finished training."""
    files = Run(run.folder)
    return files.done.exists() and files.final_weights.exists()


def store_runs(
    runs: Path,
    folder: Path,
    tables: Sequence[str],
    *,
    wanted: Callable[[Mapping[str, Any]], bool] = lambda settings: True,
) -> None:
    """Add the finished runs below a folder to a stored study; a run of the same name is replaced.

    Args:
        runs: A folder of run folders.
        folder: The stored study; created if missing.
        tables: The logs to store; a run without the first of them is skipped.
        wanted: Returns whether to store a run with these settings.

    Raises:
        UserError: There is no such finished run, or a file is damaged.
    """
    require_folder(runs)
    added: dict[str, StoredRun] = {}
    for done in sorted(runs.rglob("DONE")):
        if not (done.parent / f"{tables[0]}.csv").exists():
            continue
        run = read_stored_run(done.parent, tables)
        if wanted(run.settings):
            # Use the full name even if `runs` is an inner folder or the run folder itself.
            inner = done.parent.relative_to(runs).parts
            name = "/".join(inner) if len(inner) >= _LEVELS else run.name
            added[name] = replace(run, name=name)
    if not added:
        raise UserError(f"There is no finished run in {runs}.")
    before = {run.name: run for run in read_stored_study(folder)} if is_stored_study(folder) else {}
    _write(folder, before | added)


def _write(folder: Path, runs: Mapping[str, StoredRun]) -> None:
    runs = dict(sorted(runs.items()))
    index = {
        name: {"settings": {**run.settings, "log_dir": "runs"}, "versions": run.versions}
        for name, run in runs.items()
    }
    files = {
        f"{table}.csv.gz": _join(runs.values(), table)
        for table in TABLES
        if any(table in run.tables for run in runs.values())
    }
    files[_INDEX] = json.dumps(index, indent=1) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with atomic_write(folder / name) as file:
            file.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))


def _join(runs: Iterable[StoredRun], table: str) -> str:
    """Combine the logs of several runs in one table."""
    rows_by_run = {run.name: run.rows(table) for run in runs}
    columns = dict.fromkeys(key for rows in rows_by_run.values() for row in rows for key in row)
    joined = [
        [name, *(row.get(column, "") for column in columns)]
        for name, rows in rows_by_run.items()
        for row in rows
    ]
    return _to_csv([["run", *columns], *joined])


def _split(text: str) -> dict[str, str]:
    """Split a table into the log of each run, without its blank columns."""
    head, *lines = csv.reader(text.splitlines())
    rows_by_run: dict[str, list[list[str]]] = {}
    for name, *row in lines:
        rows_by_run.setdefault(name, []).append(row)
    logs = {}
    for name, rows in rows_by_run.items():
        own = [any(column) for column in zip(*rows, strict=True)]
        logs[name] = _to_csv(compress(row, own) for row in (head[1:], *rows))
    return logs


def _to_csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
