"""Studies on a real Ray cluster: two nodes on this machine, of which one is killed."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray_nodes import Nodes, descendants, ray_nodes
from study.runs import (
    N_RUNS,
    ROOT,
    TOY,
    assert_same_runs,
    finish,
    in_the_middle,
    run_study,
    runs_in,
    runs_of,
    start,
    start_python,
    starts,
    wait_until,
    write_study,
)

SEEDS = list(range(6))


@pytest.fixture(scope="module")
def six_undisturbed(undisturbed: Path) -> Path:
    """The runs of an uninterrupted study on this machine, one per seed."""
    run_study(undisturbed.parent / "study.yaml", "--seed", ",".join(map(str, SEEDS)))
    return undisturbed


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    with ray_nodes() as nodes:
        for name, value in nodes.environment.items():
            monkeypatch.setenv(name, value)
        yield nodes


# A study that copies runs back often and slowly, from machines that may not share its folder.
STUDY = """
import sys, time
from pathlib import Path
from rich.console import Console
from rl_coordconv.study import cluster
from rl_coordconv.study.mirror import RunStore
from rl_coordconv.study.plan import read_study
from rl_coordconv.study.supervise import supervise
from rl_coordconv.study.table import LiveTable

study, configs, address, folders, delay = sys.argv[1:]

class SlowStore(RunStore):
    def save(self, *arguments):
        time.sleep(float(delay))  # Ray interrupts a cancelled task that waits longer than a second
        super().save(*arguments)

runs = read_study(Path(study), Path(configs))
log_dir = Path(runs[0].config.log_dir)
log_dir.mkdir(exist_ok=True)
cluster.RunStore = SlowStore
backend = cluster.RayCluster(address, runs, log_dir, push_seconds=0.2)
if folders == "apart":
    (mark,) = log_dir.glob(".study-*")
    mark.unlink()
try:
    code = supervise(runs, backend, 0, LiveTable(runs, Console()))
finally:
    backend.close()
sys.exit(code)
"""


# Hides the marker file in the folder of runs from Python, as on a machine without that folder.
BLIND = """
from pathlib import Path

exists = Path.exists
Path.exists = lambda path, **options: ".study-" not in path.name and exists(path, **options)
"""


def start_on(cluster, study, folders, delay=0.0):
    """Start a study without retries, as a lost machine does not count as a failure of its runs."""
    if folders == "shared":
        return start(study, "--backend", "ray", "--address", cluster.address, "--retries", "0")
    return start_python("-c", STUDY, study, ROOT / "configs", cluster.address, folders, delay)


@pytest.mark.slow
@pytest.mark.parametrize("folders", ["shared", "apart", "mixed"])
def test_the_runs_of_a_lost_node_are_resumed_once(folders, cluster, tmp_path, six_undisturbed):
    (tmp_path / "sitecustomize.py").write_text(BLIND)
    blind = {"PYTHONPATH": str(tmp_path)} if folders == "mixed" else {}
    cluster.add(**blind)
    study = write_study(tmp_path, {"seed": SEEDS}, TOY)
    with start_on(cluster, study, folders) as process:
        wait_until(lambda: has_a_run_in_the_middle(cluster.running[1], tmp_path), process)
        cluster.kill(1)
        cluster.add()
        out = finish(process)

    runs = runs_in(tmp_path / "runs")
    assert len(runs) == len(SEEDS)
    assert_same_runs(tmp_path / "runs", six_undisturbed)
    assert sorted(starts(run) for run in runs.values()) == [1] * 5 + [2]
    (twice,) = [run for run in runs.values() if starts(run) == 2]
    assert "resuming" in twice.output.read_text()
    assert out.count("\nfinished  seed-") == len(SEEDS)


def has_a_run_in_the_middle(node: subprocess.Popen[bytes], folder: Path) -> bool:
    """Return whether a run on a node is in the middle according to its folder in the study."""
    in_study = {run.folder.name for run in in_the_middle(folder)}
    runs = runs_of(descendants(node.pid)).values()
    seeds = [yaml.safe_load(run.config.read_text())["seed"] for run in runs if run.config.exists()]
    return any(f"seed-{seed}" in in_study for seed in seeds)


@pytest.mark.slow
@pytest.mark.parametrize("folders", ["shared", "apart"])
def test_ctrl_c_saves_every_run_and_the_same_command_resumes(
    folders, cluster, tmp_path, undisturbed
):
    cluster.add()
    study = write_study(tmp_path, {"seed": list(range(N_RUNS))}, TOY)
    with start_on(cluster, study, folders, delay=1.2) as process:
        begun = wait_until(lambda: in_the_middle(tmp_path), process)
        process.send_signal(signal.SIGINT)
        finish(process, code=130)
    for run in begun:
        assert run.is_finished or "Stopped and saved" in run.output.read_text()

    with start_on(cluster, study, folders) as process:
        finish(process)
    assert len(runs_in(tmp_path / "runs")) == N_RUNS
    assert_same_runs(tmp_path / "runs", undisturbed)


@pytest.mark.slow
def test_a_cluster_of_the_study_leaves_no_files_also_after_a_kill(
    short_folder, tmp_path, undisturbed, monkeypatch
):
    """Regression: a dead address in Ray's own folder made every later ``ray.init()`` fail."""
    monkeypatch.setenv("TMPDIR", str(short_folder))  # of which Ray's own folder would be a part
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    words = (write_study(tmp_path, {"seed": [0]}, TOY), "--backend", "ray", "--address", "local")
    with start(*words) as process:
        wait_until(lambda: in_the_middle(tmp_path), process)
        process.kill()
    assert len(list(short_folder.glob("rl-coordconv-ray-*/*/lock"))) == 1  # of the killed study
    run_study(*words)
    assert_same_runs(tmp_path / "runs", undisturbed)
    assert not list(short_folder.glob("rl-coordconv-ray-*/*/lock"))
    assert not list(short_folder.rglob("ray_current_cluster"))


@pytest.mark.slow
def test_a_run_that_fits_on_no_machine_is_reported_in_one_sentence(cluster, tmp_path):
    for flags, sentence in (
        (("--num-threads", "3"), "No machine of the cluster has 3 cores and 0 GPUs for a run; "),
        (("--gpus-per-run", "1"), "No machine of the cluster has 1 cores and 1 GPUs for a run; "),
        (("--gpus-per-run", "1.5"), "--gpus-per-run above 1 must be a whole number, not 1.5."),
    ):
        study = write_study(tmp_path, {"seed": [0]}, TOY)
        with start(study, "--backend", "ray", "--address", cluster.address, *flags) as process:
            _, error = process.communicate(timeout=120)
        assert process.returncode == 2, error
        assert error.startswith(sentence)
        assert not runs_in(tmp_path)
