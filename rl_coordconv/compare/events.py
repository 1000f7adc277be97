"""Reads numbers out of TensorBoard's event files, quickly and without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.util import tensor_util

from rl_coordconv.compare.results import Array


def read_events(
    paths: Sequence[Path], tags: Sequence[str], hints: Sequence[str]
) -> tuple[dict[str, Array], set[str]]:
    """Read the points of some tags, up to the end or the tear of each file.

    Args:
        paths: The event files of one run.
        tags: What to read.
        hints: More tags of which only the presence matters.

    Returns:
        Step, time and value ``[points, 3]`` by tag, ascending by step; and the hints found.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {tag: [] for tag in tags}
    seen: set[str] = set()
    for path in paths:
        for record in _records(path):
            seen.update(hint for hint in hints if hint.encode() in record)
            # Parsing is slow, and few of the records are needed.
            if any(tag.encode() in record for tag in tags):
                for tag, *point in _scalars(record):
                    if tag in rows and np.isfinite(point).all():
                        rows[tag].append((point[0], point[1], point[2]))
    return {tag: np.array(sorted(points)).reshape(-1, 3) for tag, points in rows.items()}, seen


def _records(path: Path) -> Iterator[bytes]:
    """Yield the records of an event file up to its end or tear.

    TensorBoard's own reader checks the sums in Python, which takes several times as long. A record
    is its length (8 bytes), a sum (4), its content, and another sum.
    """
    content = path.read_bytes()
    start = 12
    while start <= len(content):
        end = start + int.from_bytes(content[start - 12 : start - 4], "little")
        if end + 4 > len(content):
            return
        yield content[start:end]
        start = end + 16


def _scalars(record: bytes) -> Iterator[tuple[str, float, float, float]]:
    """Yield tag, step, time and value of every number in an event; nothing if it is damaged."""
    try:
        event = Event.FromString(record)
    except DecodeError:
        return
    for value in event.summary.value:
        if value.HasField("simple_value"):
            yield value.tag, float(event.step), event.wall_time, value.simple_value
        elif value.HasField("tensor"):
            number = tensor_util.make_ndarray(value.tensor)
            if number.shape == () and np.issubdtype(number.dtype, np.number):
                yield value.tag, float(event.step), event.wall_time, float(number)
