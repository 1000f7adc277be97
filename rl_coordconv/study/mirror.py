"""Run folders of machines that do not see the folder of all runs."""

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

_LAST_TRIES = 3  # to bring home the end of a run

Files = Mapping[str, bytes]


class Keeper(Protocol):
    """What a `Mirror` asks of home: a `Home`, or what speaks for one on another machine."""

    def fetch(self, folder: str) -> tuple[int, Files]:
        """See `Home.fetch`."""

    def store(self, folder: str, holder: int, files: Files, names: Sequence[str]) -> None:
        """See `Home.store`."""

    def release(self, folder: str, holder: int) -> None:
        """See `Home.release`."""


class Home:
    """Keeps the folders where the study was started.

    A run that is done anew has a new holder, and a lost machine that comes back is not heard.
    """

    def __init__(self) -> None:
        self._holders: Counter[str] = Counter()
        self._locks: dict[str, ExitStack] = {}

    def fetch(self, folder: str) -> tuple[int, Files]:
        """What is in a run's folder, and the number of its new holder.

        Raises:
            InUse: Another process, of this machine, works on it.
        """
        root = Path(folder)
        if folder not in self._locks:
            root.mkdir(parents=True, exist_ok=True)
            locked = ExitStack()
            locked.enter_context(lock(root))
            self._locks[folder] = locked
        self._holders[folder] += 1
        return self._holders[folder], {name: (root / name).read_bytes() for name in _list(root)}

    def store(self, folder: str, holder: int, files: Files, names: Sequence[str]) -> None:
        """Write files that are new or changed, and delete what is there no more.

        Args:
            folder: The run's.
            holder: Its number.
            files: In their order: what a file relies on comes before it.
            names: All files that there are.
        """
        self._check(folder, holder)
        root = Path(folder)
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        for name in set(_list(root)) - set(names):
            (root / name).unlink()

    def release(self, folder: str, holder: int) -> None:
        """Let other processes have a run's folder, which its holder has brought home."""
        self._check(folder, holder)
        self.forget(folder)

    def forget(self, folder: str) -> None:
        """Let other processes have a run's folder, whose holder is not heard any more."""
        self._holders[folder] += 1
        if locked := self._locks.pop(folder, None):
            locked.close()

    def _check(self, folder: str, holder: int) -> None:
        if holder != self._holders[folder]:
            raise RuntimeError(f"{folder} was given to another machine.")


class Mirror:
    """A copy of a run's folder on this machine, brought home while the block lasts.

    Args:
        folder: The run's folder at home.
        home: What keeps it there.
        push_seconds: How often to bring home what is new.
    """

    def __init__(self, folder: str, home: Keeper, push_seconds: float) -> None:
        self._folder_at_home, self._home, self._push_seconds = folder, home, push_seconds
        self._at_home: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def __enter__(self) -> Mirror:
        self._holder, files = self._home.fetch(self._folder_at_home)
        self._scratch = tempfile.TemporaryDirectory(prefix="rl_coordconv-")
        self.folder = Path(self._scratch.name)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            self._at_home[name] = _version(path)
        # All talk with home is the thread's: Ray breaks off that of a task which it was asked to
        # stop, and the run has just saved then.
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

    def push(self) -> None:
        """Bring home what is new.

        A checkpoint is read before the logs and written after them: a log that is ahead of the
        checkpoint loses its end at the next start, one that is behind would have a gap.
        """
        names = sorted(_list(self.folder), key=self._last_first)
        files: dict[str, bytes] = {}
        versions: dict[str, tuple[int, int]] = {}
        for name in list(names):
            path = self.folder / name
            try:
                version = _version(path)
                if self._at_home.get(name) != version:
                    files[name] = path.read_bytes()
                    versions[name] = version
            except FileNotFoundError:  # a checkpoint that was replaced since
                names.remove(name)
        ordered = dict(reversed(files.items()))
        self._home.store(self._folder_at_home, self._holder, ordered, names)
        self._at_home |= versions

    def _push_often(self) -> None:
        while not self._ended.wait(self._push_seconds):
            with suppress(Exception):  # the next one brings the same home; the last one counts
                self.push()
        for tries_left in reversed(range(_LAST_TRIES)):
            try:
                self.push()
                self._home.release(self._folder_at_home, self._holder)
            except Exception as error:  # whatever it is, the main thread says it
                self._failure = error
                if tries_left:
                    time.sleep(self._push_seconds)
            else:
                self._failure = None
                return

    def _last_first(self, name: str) -> tuple[bool, bool]:
        run = Run(self.folder)
        path = self.folder / name
        return path != run.done, run.checkpoints not in path.parents


def _list(folder: Path) -> list[str]:
    """The files in a folder, without those that are being written."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
