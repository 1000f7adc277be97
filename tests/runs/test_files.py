import subprocess
import sys
from pathlib import Path

import pytest

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import (
    CsvLog,
    ProgressLog,
    atomic_write,
    delete_unfinished_writes,
    disk_errors,
    last_rows,
    rows_until,
)


class TestAtomicWrite:
    def test_replaces_the_file_when_the_block_ends(self, tmp_path):
        path = tmp_path / "file.txt"
        path.write_text("old")
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"

    def test_leaves_the_old_file_and_nothing_else_on_an_error(self, tmp_path):
        path = tmp_path / "file.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError), atomic_write(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError
        assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
        assert path.read_text() == "old"

    def test_leaves_a_file_when_killed_that_can_be_deleted(self, tmp_path):
        inner = tmp_path / "checkpoints"
        inner.mkdir()
        names = {".lock", ".hidden.pt", "step-0.pt", "step.1.pt"}
        for name in names:
            (inner / name).touch()
        write_and_die = (
            "import os, signal, sys, pathlib\n"
            "from rl_coordconv.runs.files import atomic_write\n"
            "with atomic_write(pathlib.Path(sys.argv[1])) as temporary:\n"
            "    temporary.touch()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        for path in (inner / "step-0.pt", tmp_path / "DONE"):
            subprocess.run([sys.executable, "-c", write_and_die, path], check=False)
        assert len(list(inner.iterdir())) == len(names) + 1
        assert len(list(tmp_path.iterdir())) == 2
        delete_unfinished_writes(tmp_path)
        assert {path.name for path in inner.iterdir()} == names
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]

    def test_gives_the_permissions_of_an_ordinary_file(self, tmp_path):
        (tmp_path / "ordinary").touch()
        with atomic_write(tmp_path / "atomic") as temporary:
            temporary.touch()
        modes = {(tmp_path / name).stat().st_mode for name in ("ordinary", "atomic")}
        assert len(modes) == 1


def test_a_full_disk_is_a_one_sentence_error(tmp_path):
    with (
        pytest.raises(UserError, match="No space left on device.*are intact"),
        disk_errors(tmp_path),
    ):
        Path("/dev/full").write_text("x")


def test_an_unreadable_file_elsewhere_is_not_reported_as_a_failed_write(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path / "run"):
        (tmp_path / "data" / "image.png").read_bytes()


class TestCsvLog:
    def test_resumes_after_the_kept_rows(self, tmp_path):
        path = tmp_path / "log.csv"
        log = CsvLog(path, ("step", "score"), keep_until=0)
        for step in (10, 20, 20, 30):
            log.write({"step": step, "score": step / 2})
        log = CsvLog(path, ("step", "score"), keep_until=20)
        log.write({"score": 1, "step": 25})
        assert path.read_text().split() == ["step,score", "10,5.0", "20,10.0", "20,10.0", "25,1"]

    def test_every_row_is_on_disk_when_written(self, tmp_path):
        log = CsvLog(tmp_path / "log.csv", ("step",), keep_until=0)
        assert (tmp_path / "log.csv").read_text().split() == ["step"]
        log.write({"step": 1})
        assert (tmp_path / "log.csv").read_text().split() == ["step", "1"]

    def test_takes_new_columns_at_any_row(self, tmp_path):
        path = tmp_path / "log.csv"
        log = CsvLog(path, ("step",), keep_until=-1)
        log.write({"step": 1})
        log.write({"step": 2, "score": 5})
        log.write({"step": 3})
        assert path.read_text().split() == ["step,score", "1,", "2,5", "3,"]

    def test_a_new_run_deletes_the_rows_of_an_earlier_one(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("step,other\n0,1\n")
        CsvLog(path, ("step",), keep_until=-1).write({"step": 0, "score": 2})
        assert path.read_text().split() == ["step,score", "0,2"]

    @pytest.mark.parametrize("torn", ["", "st", "step,sco", "step,score\n1,", "step,score\n1,2"])
    def test_a_torn_end_is_dropped(self, tmp_path, torn):
        path = tmp_path / "log.csv"
        path.write_text(torn)
        assert rows_until(path, "step", 100) == []

    @pytest.mark.parametrize(
        "row", ["x,5", "garbage", "2,5,6", ",5", "nan,5", "2", "2,\xff", '2,"5', "2\0,5", "2\r,5"]
    )
    def test_a_damaged_row_is_reported_and_nothing_changes(self, tmp_path, row):
        """Regression: it gave a traceback, or other rows were dropped."""
        path = tmp_path / "log.csv"
        content = f"step,score\n1,5\n{row}\n3,5\n".encode("latin-1")
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"Line [345] of .*log\.csv is damaged; correct or"):
            CsvLog(path, ("step",), keep_until=9)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("end", ["", "\n\n", "\0\0\0", "4,", "\r\n"])
    def test_text_after_the_last_row_is_dropped(self, tmp_path, end):
        path = tmp_path / "log.csv"
        path.write_bytes(f"step,score\r\n1,5\r\n{end}".encode())
        assert rows_until(path, "step", 9) == [{"step": "1", "score": "5"}]

    def test_a_damaged_header_does_not_drop_the_rows(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("stop,score\n1,5\n")
        with pytest.raises(UserError, match=r"Line 2 of .*log\.csv is damaged"):
            CsvLog(path, ("step",), keep_until=9)


class TestProgressLog:
    def test_has_one_row_per_step_and_the_same_columns_wherever_it_resumes(self, tmp_path):
        rows = [
            {"step": 10, "seconds": 1.0, "train/loss": 3},
            {"step": 20, "seconds": 2.0, "rollout/score": 5, "train/loss": 2},
            {"step": 20, "seconds": 2.5, "eval/score": 7, "train/loss": 1},  # an evaluation
            {"step": 30, "seconds": 3.0, "train/loss": 0},
        ]
        text = "step,seconds,eval/score,rollout/score,train/loss\n"
        text += "10,1.0,,,3\n20,2.5,7,5,1\n30,3.0,,,0\n"
        for killed_after in range(len(rows)):
            path = tmp_path / f"{killed_after}.csv"
            for part in rows[:killed_after], rows[killed_after:]:
                log = ProgressLog(path, keep_until=20)
                for row in part:
                    log.write(row)
                    assert path.read_text().count("\n") > 1  # it is on disk
            assert path.read_bytes().decode().replace("\r\n", "\n") == text

    def test_merges_the_rows_of_a_step_from_an_earlier_version(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("step,seconds,b,a\n10,1,5,\n20,2,6,\n20,3,,7\n20.0,4,8,\n30,5,9,\n")
        log = ProgressLog(path, keep_until=20)
        assert path.read_text().split() == ["step,seconds,a,b", "10,1,,5", "20.0,4,7,8"]
        log.write({"step": 20, "seconds": 6, "c": 0})
        assert path.read_text().split() == ["step,seconds,a,b,c", "10,1,,5,", "20,6,7,8,0"]

    def test_drops_values_that_are_logged_again(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("step,seconds,eval/a,train/b\n10,1,5,6\n20,2,7,8\n")
        ProgressLog(path, keep_until=20, drop=lambda step, name: step > 10 and name == "eval/a")
        assert path.read_text().split() == ["step,seconds,eval/a,train/b", "10,1,5,6", "20,2,,8"]


class TestLastRows:
    def test_are_the_whole_rows_that_fit_the_header(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("step,score\n1,2\n3\n4,5,6\n7,8\n9,1")
        assert last_rows(path) == [{"step": "1", "score": "2"}, {"step": "7", "score": "8"}]

    def test_of_a_long_file_are_those_at_its_end_and_whole(self, tmp_path):
        path = tmp_path / "log.csv"
        path.write_text("step\n" + "".join(f"{10**9 + n}\n" for n in range(5000)))
        steps = [int(row["step"]) for row in last_rows(path)]
        assert steps == list(range(10**9 + 5000 - len(steps), 10**9 + 5000))
        assert 100 < len(steps) < 1000

    @pytest.mark.parametrize("content", [b"", b"step", b"\xff\xfe\n1\n"])
    def test_of_an_empty_or_unreadable_file_are_none(self, tmp_path, content):
        path = tmp_path / "log.csv"
        assert last_rows(path) == []
        path.write_bytes(content)
        assert last_rows(path) == []
