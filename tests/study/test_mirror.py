"""Folders that are brought home from another machine."""

from pathlib import Path

import pytest

from rl_coordconv.study.mirror import Home

CHECKPOINT = "checkpoints/step-0000000010.pt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "seed-0"


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_what_was_stored_can_be_fetched(folder):
    home = Home()
    holder, files = home.fetch(str(folder))
    assert files == {}
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    home.store(str(folder), holder, files, list(files))
    assert contents(folder) == files
    assert home.fetch(str(folder)) == (holder + 1, files)


def test_only_what_changed_need_be_sent_and_what_is_gone_is_deleted(folder):
    home = Home()
    holder, _ = home.fetch(str(folder))
    files = {"progress.csv": b"1", CHECKPOINT: b"2"}
    home.store(str(folder), holder, files, list(files))
    later = "checkpoints/step-0000000020.pt"
    home.store(str(folder), holder, {later: b"3"}, ["progress.csv", later])
    assert contents(folder) == {"progress.csv": b"1", later: b"3"}


def test_a_machine_that_lost_the_run_is_not_heard(folder):
    home = Home()
    lost, _ = home.fetch(str(folder))
    holder, _ = home.fetch(str(folder))
    home.store(str(folder), holder, {"progress.csv": b"new"}, ["progress.csv"])
    with pytest.raises(RuntimeError, match="was given to another machine"):
        home.store(str(folder), lost, {"progress.csv": b"old"}, ["progress.csv"])
    assert contents(folder) == {"progress.csv": b"new"}


def test_files_are_written_in_their_order(folder, monkeypatch):
    """A checkpoint is not home before the log that it goes with, nor DONE before anything."""
    home = Home()
    holder, _ = home.fetch(str(folder))
    written = []
    replace = Path.replace

    def note(self: Path, target: Path) -> Path:
        written.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    files = {"progress.csv": b"", CHECKPOINT: b"", "DONE": b""}
    home.store(str(folder), holder, files, list(files))
    assert written == ["progress.csv", Path(CHECKPOINT).name, "DONE"]
