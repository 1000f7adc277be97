"""Copying run folders back from another machine."""

from pathlib import Path

import pytest

from rl_coordconv.runs.folder import InUse, lock
from rl_coordconv.study.mirror import Mirror, RunStore

CHECKPOINT = "checkpoints/step-0000000010.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "seed-0"


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def kept(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name != ".lock"}


def test_saved_files_can_be_fetched(folder):
    store = RunStore()
    token, files = store.fetch(str(folder))
    assert files == {}
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    store.save(str(folder), token, files, list(files))
    assert kept(folder) == files
    assert store.fetch(str(folder)) == (token + 1, files)


def test_only_changed_files_are_sent_and_deleted_files_are_deleted(folder):
    store = RunStore()
    token, _ = store.fetch(str(folder))
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    store.save(str(folder), token, files, list(files))
    later = "checkpoints/step-0000000020.pt"
    store.save(str(folder), token, {later: b"3"}, ["progress.csv", later])
    assert kept(folder) == {"progress.csv": b"1", later: b"3"}


def test_writes_of_a_machine_that_lost_the_run_are_rejected(folder):
    store = RunStore()
    lost, _ = store.fetch(str(folder))
    token, _ = store.fetch(str(folder))
    store.save(str(folder), token, {"progress.csv": b"new"}, ["progress.csv"])
    with pytest.raises(RuntimeError, match="was assigned to another machine"):
        store.save(str(folder), lost, {"progress.csv": b"old"}, ["progress.csv"])
    assert kept(folder) == {"progress.csv": b"new"}


def test_a_folder_in_use_by_another_process_is_not_overwritten(folder):
    folder.mkdir()
    store = RunStore()
    with lock(folder), pytest.raises(InUse):
        store.fetch(str(folder))
    token, _ = store.fetch(str(folder))
    with pytest.raises(InUse), lock(folder):
        pass
    store.save(str(folder), token, {"progress.csv": b"1"}, ["progress.csv"])
    store.release(str(folder))
    with lock(folder):
        pass


def test_the_folder_of_a_lost_machine_is_unlocked_and_its_writes_are_rejected(folder):
    store = RunStore()
    gone, _ = store.fetch(str(folder))
    store.release(str(folder))
    with lock(folder):  # by a run on a machine that shares the folder
        pass
    with pytest.raises(RuntimeError, match="was assigned to another machine"):
        store.save(str(folder), gone, {"progress.csv": b"old"}, ["progress.csv"])
    assert kept(folder) == {}
    store.release(str(folder))  # a second release has no effect


class Recorder(RunStore):
    """A store that records the order of saved files, after failing a number of times."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.saved: list[str] = []
        self.failures = failures

    def save(self, folder, token, files, names) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.saved += files
        super().save(folder, token, files, names)


def write(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)


def test_files_are_saved_after_those_they_depend_on(folder):
    """A checkpoint comes after its log, and DONE after everything."""
    store = Recorder()
    with Mirror(str(folder), store, push_seconds=60) as mirror:
        write(mirror.folder, ["DONE", CHECKPOINT, "progress.csv", "episodes.csv"])
        scratch = mirror.folder
    assert store.saved[-2:] == [CHECKPOINT, "DONE"]
    assert set(store.saved[:-2]) == {"progress.csv", "episodes.csv"}
    assert kept(folder).keys() == {*store.saved}
    assert not scratch.exists()


def test_a_run_resumes_from_the_saved_files(folder):
    store = Recorder()
    write_all = {"progress.csv": b"1", CHECKPOINT: b"2"}
    token, _ = store.fetch(str(folder))
    store.save(str(folder), token, write_all, list(write_all))
    store.saved.clear()
    with Mirror(str(folder), store, push_seconds=60) as mirror:
        assert contents(mirror.folder) == write_all
        (mirror.folder / "progress.csv").write_text("more")
    assert store.saved == ["progress.csv"]  # the rest is unchanged


@pytest.mark.parametrize("failures", [1, 2])
def test_files_of_a_failed_push_are_pushed_again(failures, folder):
    store = Recorder(failures)
    with Mirror(str(folder), store, push_seconds=0.01) as mirror:
        write(mirror.folder, ["progress.csv", CHECKPOINT, "DONE"])
    assert kept(folder).keys() == {"progress.csv", CHECKPOINT, "DONE"}


def test_a_run_that_cannot_be_saved_is_an_error(folder):
    with (
        pytest.raises(OSError, match="No space left"),
        Mirror(str(folder), Recorder(failures=10**9), push_seconds=0.01) as mirror,
    ):
        write(mirror.folder, ["DONE"])
    assert "DONE" not in contents(folder)
