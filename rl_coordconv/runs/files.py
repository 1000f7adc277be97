"""Atomic writes, and CSV logs that survive a kill or a full disk."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.hints import nearest_path

_TAIL_BYTES = 8192  # more than ten rows


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    Yields:
        A temporary path to write to; it replaces the file when the block ends without an error.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def delete_unfinished_writes(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder and in its subfolders.

    No other process may be writing to the folder.
    """
    for path in [*folder.glob(".*"), *folder.glob("*/.*")]:
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name) and path.is_file():  # see `atomic_write`
            path.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Create a folder; when the block ends, remove it and its new parents if they are empty."""
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # it is not empty, or could not be made
                path.rmdir()


def require_folder(path: Path) -> None:
    """Raise a `UserError` if a path is not a folder."""
    if not path.is_dir():
        is_file = f"{path} is a file; pass its folder instead: {path.parent}"
        missing = f"There is no folder {path}{nearest_path(path)}"
        raise UserError(is_file if path.exists() else missing)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Convert an error on writing to a folder, such as a full disk, to a `UserError`."""
    try:
        yield
    except OSError as error:
        inner, outer = Path(error.filename or folder).resolve(), folder.resolve()
        if not (inner.is_relative_to(outer) or outer.is_relative_to(inner)):
            raise  # about a file elsewhere
        reason = error.strerror or str(error)
        raise UserError(
            f"Could not write to {folder}: {reason}. Earlier files are intact;"
            " fix this and rerun the command."
        ) from error


class CsvLog:
    """A CSV log that survives a kill: every row is flushed to disk when it is written.

    A row may add columns, which are blank in earlier rows.

    Args:
        path: The file.
        columns: The columns of a new file, including ``step``.
        keep_until: The step to resume from; later rows are deleted.
        drop: Returns whether to delete a row up to that step, too.

    Raises:
        UserError: A row is damaged.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        *,
        keep_until: float,
        drop: Callable[[Mapping[str, str]], bool] = lambda row: False,
    ) -> None:
        self._path = path
        rows = [row for row in rows_until(path, "step", keep_until) if not drop(row)]
        self._columns = list(rows[0] if rows else columns)
        write_rows(path, self._columns, rows)

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row of values by column."""
        if new := [name for name in row if name not in self._columns]:
            rows = rows_until(self._path, "step", float("inf"))
            self._columns += new
            write_rows(self._path, self._columns, rows)
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)


class ProgressLog:
    """``progress.csv``: one row per step with ``step``, ``seconds`` and metrics sorted by name.

    Values logged later at the same step are added to its row. Every write is flushed to disk.

    Args:
        path: The file.
        keep_until: The step to resume from; later rows are deleted.
        drop: Returns whether to delete a value up to that step, too, given its step and metric.

    Raises:
        UserError: A row is damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_until: float,
        drop: Callable[[float, str], bool] = lambda step, name: False,
    ) -> None:
        self._path = path
        self._columns: list[str]
        self._last: Mapping[str, object]
        rows: dict[float, dict[str, object]] = {}
        for row in rows_until(path, "step", keep_until):
            step = float(row["step"])
            values = {k: value for k, value in row.items() if value and not drop(step, k)}
            rows[step] = rows.get(step, {}) | values  # earlier versions wrote several rows per step
        self._rewrite(list(rows.values()))

    @property
    def seconds(self) -> float:
        """The value of ``seconds`` in the last row; 0 if there is none."""
        return float(str(self._last.get("seconds") or 0))

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row, or add its values to the last row if that has the same step."""
        is_new = not self._last or float(str(row["step"])) != float(str(self._last["step"]))
        if is_new and row.keys() <= set(self._columns):
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
            self._last = row
        else:
            rows: list[Mapping[str, object]] = [*rows_until(self._path, "step", math.inf)]
            self._rewrite([*rows, row] if is_new else [*rows[:-1], {**self._last, **row}])

    def _rewrite(self, rows: Sequence[Mapping[str, object]]) -> None:
        self._last = rows[-1] if rows else {}
        first = "step", "seconds", "updates"
        found = {name for row in rows for name in row} | {"step", "seconds"}
        self._columns = [name for name in first if name in found] + sorted(found - set(first))
        write_rows(self._path, self._columns, rows)


def rows_until(path: Path, column: str, last: float) -> list[dict[str, str]]:
    """Return the rows of a CSV file in which ``column`` is at most ``last``.

    An incomplete last line is ignored. A missing file has no rows.

    Raises:
        UserError: A row does not fit the header, or has no finite number in the column.
    """
    if not path.exists():
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    reader = csv.reader(text[: text.rfind("\n") + 1].split("\n"), strict=True)
    rows = []
    try:
        header = next(reader, [])
        for line in filter(None, reader):
            row = dict(zip(header, line, strict=True))
            number = float(row[column])
            if not math.isfinite(number) or "\ufffd" in "".join(line):  # undecodable bytes
                raise ValueError
            if number <= last:
                rows.append(row)
    except (csv.Error, KeyError, ValueError):
        raise UserError(
            f"Line {reader.line_num} of {path} is damaged; correct or delete it."
        ) from None
    return rows


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file atomically; columns that are missing from a row are left blank."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def last_rows(path: Path) -> list[dict[str, str]]:
    """Return the last rows of a CSV file that another process may be writing.

    Read only the end of the file, and skip rows that do not fit the header. A file that cannot be
    read has no rows.
    """
    try:
        with path.open("rb") as file:
            header = file.readline().decode().rstrip("\r\n").split(",")
            start = max(file.tell(), path.stat().st_size - _TAIL_BYTES)
            is_torn = start > file.tell()
            file.seek(start)
            lines = file.read().decode().splitlines(keepends=True)[is_torn:]
    except (OSError, UnicodeDecodeError):
        return []
    rows = csv.reader(line for line in lines if line.endswith("\n"))
    return [dict(zip(header, row, strict=True)) for row in rows if len(row) == len(header)]
