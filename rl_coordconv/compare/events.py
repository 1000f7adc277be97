"""Read scalars from TensorBoard event files, quickly and without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.util import tensor_util

from rl_coordconv.compare.results import Array


@dataclass(frozen=True)
class EventFile:
    """The scalars in an event file, up to its end or the first damaged record.

    Attributes:
        path: The file.
        points: Step, Unix time and value ``[points, 3]`` by tag, in file order.
        found: The ``hints`` given to `read_events` that occur in the file.
    """

    path: Path
    points: dict[str, Array]
    found: frozenset[str]


def read_events(path: Path, tags: Sequence[str], hints: Sequence[str]) -> EventFile:
    """Read the scalars of some tags.

    Args:
        path: An event file.
        tags: The tags to read.
        hints: Further tags to look for; their values are not read.

    Raises:
        OSError: The file cannot be read.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {tag: [] for tag in tags}
    missing = {hint: hint.encode() for hint in hints}
    wanted = [tag.encode() for tag in tags]
    for record, checksum in _records(path):
        for hint in [hint for hint, text in missing.items() if text in record]:
            del missing[hint]
        # Parsing and checking are slow, and few of the records are needed.
        if any(tag in record for tag in wanted):
            if masked_crc32c(record) != checksum:
                break
            for tag, *point in _scalars(record):
                if tag in rows and np.isfinite(point).all():
                    rows[tag].append((point[0], point[1], point[2]))
    points = {tag: np.array(found, dtype=float).reshape(-1, 3) for tag, found in rows.items()}
    return EventFile(path, points, frozenset(hints) - missing.keys())


def in_order(points: Array) -> Array:
    """Sort the points of one run ``[points, 3]`` by time, and drop those that were replaced.

    Where steps decrease, the run was resumed from an earlier step. Earlier points from that
    step on are dropped, as in TensorBoard.
    """
    kept: list[Array] = []
    for point in points[np.argsort(points[:, 1], kind="stable")]:
        while kept and kept[-1][0] >= point[0]:
            kept.pop()
        kept.append(point)
    return np.array(kept, dtype=float).reshape(-1, 3)


def _records(path: Path) -> Iterator[tuple[bytes, int]]:
    """Yield the records of an event file and their checksums, up to its end or damage.

    A record is its length (8 bytes), a checksum (4), its content, and the content's checksum (4).
    """
    content = path.read_bytes()
    start = 12
    while start <= len(content):
        end = start + int.from_bytes(content[start - 12 : start - 4], "little")
        if end + 4 > len(content):
            return
        yield content[start:end], int.from_bytes(content[end : end + 4], "little")
        start = end + 16


def _scalars(record: bytes) -> Iterator[tuple[str, float, float, float]]:
    """Yield tag, step, time and value of every number in an event; nothing if it is damaged."""
    try:
        event = Event.FromString(record)
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield value.tag, float(event.step), event.wall_time, value.simple_value
            elif value.HasField("tensor"):
                number = tensor_util.make_ndarray(value.tensor)
                if number.shape == () and number.dtype.kind in "fiu":
                    yield value.tag, float(event.step), event.wall_time, float(number)
    except (DecodeError, ValueError, TypeError):
        return
