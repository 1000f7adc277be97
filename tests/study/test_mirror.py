"""Folders that are brought home from another machine."""

from pathlib import Path

import pytest

from rl_coordconv.runs.folder import InUse, lock
from rl_coordconv.study.mirror import Home, Mirror

CHECKPOINT = "checkpoints/step-0000000010.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "seed-0"


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def kept(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name != ".lock"}


def test_what_was_stored_can_be_fetched(folder):
    home = Home()
    holder, files = home.fetch(str(folder))
    assert files == {}
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    home.store(str(folder), holder, files, list(files))
    assert kept(folder) == files
    assert home.fetch(str(folder)) == (holder + 1, files)


def test_only_what_changed_need_be_sent_and_what_is_gone_is_deleted(folder):
    home = Home()
    holder, _ = home.fetch(str(folder))
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    home.store(str(folder), holder, files, list(files))
    later = "checkpoints/step-0000000020.pt"
    home.store(str(folder), holder, {later: b"3"}, ["progress.csv", later])
    assert kept(folder) == {"progress.csv": b"1", later: b"3"}


def test_a_machine_that_lost_the_run_is_not_heard(folder):
    home = Home()
    lost, _ = home.fetch(str(folder))
    holder, _ = home.fetch(str(folder))
    home.store(str(folder), holder, {"progress.csv": b"new"}, ["progress.csv"])
    with pytest.raises(RuntimeError, match="was given to another machine"):
        home.store(str(folder), lost, {"progress.csv": b"old"}, ["progress.csv"])
    assert kept(folder) == {"progress.csv": b"new"}


def test_another_process_at_home_is_not_written_over(folder):
    folder.mkdir()
    home = Home()
    with lock(folder), pytest.raises(InUse):
        home.fetch(str(folder))
    holder, _ = home.fetch(str(folder))
    with pytest.raises(InUse), lock(folder):
        pass
    home.release(str(folder), holder)
    with lock(folder):
        pass


def test_the_folder_of_a_machine_that_is_gone_is_free_and_its_holder_is_not_heard(folder):
    home = Home()
    gone, _ = home.fetch(str(folder))
    home.forget(str(folder))
    with lock(folder):  # by a run on a machine that sees the folder
        pass
    with pytest.raises(RuntimeError, match="was given to another machine"):
        home.store(str(folder), gone, {"progress.csv": b"old"}, ["progress.csv"])
    with pytest.raises(RuntimeError, match="was given to another machine"):
        home.release(str(folder), gone)
    assert kept(folder) == {}
    home.forget(str(folder))  # once more does no harm


class Recorder(Home):
    """Notes in which order files come home; fails as often as it is told."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.came: list[str] = []
        self.failures = failures

    def store(self, folder, holder, files, names) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(28, "No space left on device")
        self.came += files
        super().store(folder, holder, files, names)


def write(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)


def test_a_run_comes_home_with_what_it_relies_on_first(folder):
    """A checkpoint is not home before the log that it goes with, nor DONE before anything."""
    home = Recorder()
    with Mirror(str(folder), home, push_seconds=60) as mirror:
        write(mirror.folder, ["DONE", CHECKPOINT, "progress.csv", "episodes.csv"])
        scratch = mirror.folder
    assert home.came[-2:] == [CHECKPOINT, "DONE"]
    assert set(home.came[:-2]) == {"progress.csv", "episodes.csv"}
    assert kept(folder).keys() == {*home.came}
    assert not scratch.exists()


def test_a_run_goes_on_from_what_is_at_home(folder):
    home = Recorder()
    write_all = {"progress.csv": b"1", CHECKPOINT: b"2"}
    holder, _ = home.fetch(str(folder))
    home.store(str(folder), holder, write_all, list(write_all))
    home.came.clear()
    with Mirror(str(folder), home, push_seconds=60) as mirror:
        assert contents(mirror.folder) == write_all
        (mirror.folder / "progress.csv").write_text("more")
    assert home.came == ["progress.csv"]  # the rest is there


@pytest.mark.parametrize("failures", [1, 2])
def test_a_push_that_fails_loses_nothing(failures, folder):
    home = Recorder(failures)
    with Mirror(str(folder), home, push_seconds=0.01) as mirror:
        write(mirror.folder, ["progress.csv", CHECKPOINT, "DONE"])
    assert kept(folder).keys() == {"progress.csv", CHECKPOINT, "DONE"}


def test_a_run_that_cannot_come_home_is_an_error(folder):
    with (
        pytest.raises(OSError, match="No space left"),
        Mirror(str(folder), Recorder(failures=10**9), push_seconds=0.01) as mirror,
    ):
        write(mirror.folder, ["DONE"])
    assert "DONE" not in contents(folder)
