"""Studies on this machine, and their processes being killed or stopped."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray_nodes import children
from study.runs import (
    N_RUNS,
    ROOT,
    SCRIPT,
    TOY,
    assert_same_runs,
    finish,
    in_the_middle,
    is_in_the_middle,
    run_study,
    runs_in,
    runs_of,
    start,
    starts,
    wait_until,
    write_study,
)

from rl_coordconv.experiments import train
from rl_coordconv.runs.files import last_rows
from rl_coordconv.study.plan import read_study

AT_ONCE = ("--parallel", "2")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path, {"seed": list(range(N_RUNS))}, TOY)


def workers(pid: int) -> list[int]:
    """Return the training processes of a study."""
    return [child for child in children(pid) if b"study.worker" in command_line(child)]


def worker_in_the_middle(pid: int) -> int | None:
    """Return a training process of a study whose run is in the middle."""
    runs = runs_of(workers(pid))
    return next((worker for worker, run in runs.items() if is_in_the_middle(run)), None)


def command_line(pid: int) -> bytes:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_bytes() if path.exists() else b""


@pytest.mark.slow
def test_a_killed_run_is_resumed_and_the_others_are_not_restarted(study, tmp_path, undisturbed):
    with start(study, *AT_ONCE) as process:
        os.kill(wait_until(lambda: worker_in_the_middle(process.pid), process), signal.SIGKILL)
        finish(process)
    assert_same_runs(tmp_path / "runs", undisturbed)
    counts = [starts(run) for run in runs_in(tmp_path / "runs").values()]
    assert sorted(counts) == [1] * 2 + [2]


@pytest.mark.slow
def test_runs_of_a_killed_study_save_and_stop_and_the_same_command_resumes(
    study, tmp_path, undisturbed
):
    with start(study, *AT_ONCE) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        orphans = workers(process.pid)
        process.kill()
    deadline = time.monotonic() + 60
    while any(map(command_line, orphans)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(command_line, orphans))
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()

    run_study(study, *AT_ONCE)
    assert len(runs_in(tmp_path / "runs")) == N_RUNS
    assert_same_runs(tmp_path / "runs", undisturbed)


@pytest.mark.slow
def test_ctrl_c_saves_every_run_and_the_same_command_resumes(study, tmp_path, undisturbed):
    with start(study, *AT_ONCE, start_new_session=True) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out = finish(process, code=130)
    assert "Stopped and saved. Run the same command again to resume." in out
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()

    run_study(study, *AT_ONCE)
    assert len(runs_in(tmp_path / "runs")) == N_RUNS
    assert_same_runs(tmp_path / "runs", undisturbed)


@pytest.mark.slow
def test_a_second_ctrl_c_exits_at_once_and_the_runs_still_save(study, tmp_path, undisturbed):
    with start(study, *AT_ONCE, start_new_session=True) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        orphans = workers(process.pid)
        for worker in orphans:
            os.kill(worker, signal.SIGSTOP)  # as if saving took long
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout
        wait_until(lambda: "Stopping: saving" in process.stdout.readline(), process)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
        for worker in orphans:
            os.kill(worker, signal.SIGCONT)
    assert process.returncode == 130
    assert error == "Interrupted.\n"
    deadline = time.monotonic() + 60
    while any(map(command_line, orphans)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()
    run_study(study, *AT_ONCE)
    assert_same_runs(tmp_path / "runs", undisturbed)


def test_ctrl_c_ends_the_measurement_of_speeds(tmp_path):
    study = write_study(tmp_path, {"seed": [0]}, {**TOY, "canvas": 64, "eval_freq": 1000})
    with start(study, "--measure", start_new_session=True) as process:
        trials = wait_until(lambda: workers(process.pid), process)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "Interrupted.\n"
    assert not any(map(command_line, trials))


@pytest.mark.slow
def test_sigterm_to_the_study_and_its_runs_saves_every_run(study, tmp_path):
    """As on shutdown of a machine. The study then sends each run a second SIGTERM."""
    with start(study, *AT_ONCE) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        for pid in [*workers(process.pid), process.pid]:
            os.kill(pid, signal.SIGTERM)
        out = finish(process, code=143)
    assert "Stopped and saved. Run the same command again to resume." in out
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()


@pytest.mark.slow
def test_a_log_on_a_full_disk_does_not_stop_the_runs(tmp_path):
    study = write_study(tmp_path, {"seed": [0]}, {**TOY, "n_epochs": 1})
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, SCRIPT, study]
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    (run,) = runs_in(tmp_path / "runs").values()
    assert run.is_finished


@pytest.mark.slow
def test_a_run_that_cannot_write_its_error_is_reported_and_not_retried(tmp_path):
    limit = 8192  # importing torch writes a few thousand bytes

    def allow_little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    study = write_study(tmp_path, {"seed": [0, 1]}, TOY)
    for planned in read_study(study, ROOT / "configs"):
        planned.run.folder.mkdir(parents=True)
        planned.run.output.write_text(limit * "x")  # as by earlier attempts
    with start(study, preexec_fn=allow_little) as process:
        out = finish(process, code=1)
    lines = [line for line in out.splitlines() if line.startswith("Failed: ")]
    assert len(lines) == 2
    assert "Run the same command again to retry." in out
    assert all(
        line.endswith("output.txt (cut off: the disk is full, or the run was killed)")
        for line in lines
    )
    assert all(starts(run) == 1 for run in runs_in(tmp_path / "runs").values())


@pytest.mark.slow
def test_runs_that_fail_on_a_full_disk_are_reported_and_resumed(study, tmp_path, undisturbed):
    def allow_little() -> None:  # a checkpoint has 100 kB
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    with start(study, *AT_ONCE, preexec_fn=allow_little) as process:
        out = finish(process, code=1)
    runs = runs_in(tmp_path / "runs").values()
    assert len(runs) == N_RUNS
    for run in runs:
        assert f"Failed: {run.folder}; its output is in {run.output}" in out
        assert "Could not write to" in run.output.read_text()
        assert "Traceback" not in run.output.read_text()
        assert starts(run) == 1  # a retry would fail as well

    run_study(study, *AT_ONCE)
    assert len(runs_in(tmp_path / "runs")) == N_RUNS
    assert_same_runs(tmp_path / "runs", undisturbed)


@pytest.mark.slow
def test_a_finished_study_does_nothing(undisturbed):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")}
    out = run_study(undisturbed.parent / "study.yaml")
    assert out == f"All {N_RUNS} runs are finished. Use a larger --n-epochs to train longer.\n"
    assert {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*")} == before


@pytest.mark.slow
def test_a_finished_study_is_extended_with_a_larger_length(tmp_path):
    study = write_study(tmp_path, {"seed": [0]}, TOY | {"n_epochs": 1})
    (planned,) = read_study(study, ROOT / "configs")
    train(planned.config)
    run_study(study, "--n-epochs", 2)
    (planned,) = read_study(study, ROOT / "configs", {"n_epochs": "2"})
    assert planned.run.is_finished
    assert "Extending the run from 1 to 2 epochs." in planned.run.output.read_text()
    assert [row["step"] for row in last_rows(planned.run.progress)] == ["0", "1", "2"]
