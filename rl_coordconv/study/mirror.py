"""Copy run folders to and from machines that do not share the folder of all runs.

Each trains in a temporary copy of a run's folder, and new files are copied back to the machine of
the study, so a cluster needs no shared disk or cloud storage.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rl_coordconv.runs.files import atomic_write
from rl_coordconv.runs.folder import Run, lock

_LAST_ATTEMPTS = 3  # to copy back the last files

Files = Mapping[str, bytes]


class _Store(Protocol):
    """The interface of a `RunStore`, which may be on another machine."""

    def fetch(self, folder: str) -> tuple[int, Files]: ...
    def save(self, folder: str, token: int, files: Files, names: Sequence[str]) -> None: ...


class RunStore:
    """The run folders on the machine where the study was started.

    Each attempt at a run gets a new token; writes with an old token are rejected, so a lost machine
    that comes back cannot overwrite newer files.
    """

    def __init__(self) -> None:
        self._tokens: Counter[str] = Counter()
        self._locks: dict[str, ExitStack] = {}

    def fetch(self, folder: str) -> tuple[int, Files]:
        """Lock a run's folder, and return a new token and the files in it.

        Raises:
            InUse: Another process on this machine is using the folder.
        """
        root = Path(folder)
        if folder not in self._locks:
            root.mkdir(parents=True, exist_ok=True)
            locked = ExitStack()
            locked.enter_context(lock(root))
            self._locks[folder] = locked
        self._tokens[folder] += 1
        return self._tokens[folder], {name: (root / name).read_bytes() for name in _list(root)}

    def save(self, folder: str, token: int, files: Files, names: Sequence[str]) -> None:
        """Write new and changed files, and delete those that no longer exist.

        Args:
            folder: The run's folder.
            token: The attempt's token.
            files: Contents by name, written in this order.
            names: All files that exist.
        """
        if token != self._tokens[folder]:
            raise RuntimeError(f"{folder} was assigned to another machine.")
        root = Path(folder)
        _write(root, files)
        for name in set(_list(root)) - set(names):
            (root / name).unlink()

    def release(self, folder: str) -> None:
        """Unlock a run's folder, and reject further writes of the last attempt."""
        self._tokens[folder] += 1
        if locked := self._locks.pop(folder, None):
            locked.close()


class Mirror:
    """A context manager that copies a run's folder to this machine, and new files back.

    Args:
        folder: The run's folder on the machine of the study.
        store: The store on that machine.
        push_seconds: Seconds between copies.
    """

    def __init__(self, folder: str, store: _Store, push_seconds: float) -> None:
        self._original, self._store, self._push_seconds = folder, store, push_seconds
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> Mirror:
        self._token, files = self._store.fetch(self._original)
        self._scratch = tempfile.TemporaryDirectory(prefix="rl_coordconv-")
        self.folder = Path(self._scratch.name)
        _write(self.folder, files)
        self._saved = {name: _version(self.folder / name) for name in files}
        # A thread, because Ray interrupts remote calls of a task's main thread when the task is
        # cancelled, and the run must still be copied back then.
        self._thread = threading.Thread(target=self._push_often, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._scratch.cleanup()
        if self._failure and not error:
            raise self._failure

    def _push(self) -> None:
        """Copy new files back.

        Checkpoints are read before the logs and written after them: a resumed run drops the rows
        of a log after its checkpoint, but could not fill a gap before it.
        """
        files, versions = {}, {}
        for name in sorted(_list(self.folder), key=self._write_order, reverse=True):
            path = self.folder / name
            with suppress(FileNotFoundError):  # a checkpoint that was deleted meanwhile
                version = _version(path)
                if self._saved.get(name) != version:
                    files[name] = path.read_bytes()
                versions[name] = version
        in_order = dict(reversed(files.items()))
        self._store.save(self._original, self._token, in_order, list(versions))
        self._saved = versions

    def _push_often(self) -> None:
        while not self._ended.wait(self._push_seconds):
            with suppress(Exception):  # the next push retries; only the last must succeed
                self._push()
        for _ in range(_LAST_ATTEMPTS):
            try:
                self._push()
            except Exception as error:  # raised in `__exit__`
                self._failure = error
                time.sleep(self._push_seconds)
            else:
                self._failure = None
                return

    def _write_order(self, name: str) -> int:
        """Return 0 for logs, 1 for checkpoints, 2 for ``DONE``."""
        run, path = Run(self.folder), self.folder / name
        return 2 if path == run.done else int(run.checkpoints in path.parents)


def _list(folder: Path) -> list[str]:
    """Return the files in a folder, without hidden ones, which are being written."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
