import time
from pathlib import Path

import pytest

from rl_coordconv.bench.processes import WARM_UP, Candidate, interleave_processes
from rl_coordconv.runs.config import UserError

COUNTS = """
import os, subprocess, sys
from rl_coordconv.bench.candidate import between_updates

CHILD = "import time; held = bytearray(2**28); print(flush=True); time.sleep(60)"

def main(argv):
    name, log, size, *switches = argv
    if "child" in switches:
        child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
        child.stdout.readline()
        with open(log + ".pid", "w") as file:
            file.write(str(child.pid))
    with open(f"{log}.{name}", "w") as file:
        file.write(str(os.getpid()))
    steps = 0
    while True:
        between_updates(steps)
        with open(log, "a") as file:
            file.write(name)
        if "ends" in switches and steps:
            sys.exit("There is no more.")
        sys.stderr.write("x" * 100_000 + "\\n")
        steps += int(size)
"""
LEARNS = """
from stable_baselines3 import A2C

def main(argv):
    A2C("MlpPolicy", "CartPole-v1", n_steps=7, device="cpu").learn(10**9)
"""


@pytest.fixture
def candidate(tmp_path):
    """Return a function that makes a candidate, by default with intervals of one update."""
    (tmp_path / "counts.py").write_text(COUNTS)
    (tmp_path / "learns.py").write_text(LEARNS)

    def candidate(script, *argv, seconds=0.0):
        return Candidate(tmp_path / script, argv, seconds)

    return candidate


def ends(pid: int) -> bool:
    """Wait up to 5 s for a process to end, and return whether it did; zombies count as ended."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
def test_each_candidate_runs_once_per_round_and_its_steps_are_counted(candidate, tmp_path):
    log = str(tmp_path / "log")
    candidates = {
        "a": candidate("counts.py", "a", log, "3"),
        "b": candidate("counts.py", "b", log, "5", "child"),
        "c": candidate("learns.py"),
        "d": candidate("counts.py", "d", str(tmp_path / "other"), "2", seconds=0.01),
    }
    intervals = interleave_processes(candidates, 6)
    assert [interval.steps for interval in intervals["a"]] == [3] * 6
    assert [interval.steps for interval in intervals["b"]] == [5] * 6
    assert [interval.steps for interval in intervals["c"]] == [7] * 6  # Stable-Baselines3's steps
    assert all(interval.steps % 2 == 0 and interval.seconds >= 0.01 for interval in intervals["d"])
    assert all(interval.seconds > 0 for values in intervals.values() for interval in values)

    # The last letter of an interval is written at the start of the next one.
    order = Path(log).read_text()
    pairs = [order[i : i + 2] for i in range(0, len(order), 2)]
    assert len(pairs) == WARM_UP + 6
    assert all(sorted(pair) == ["a", "b"] for pair in pairs)
    assert len(set(pairs)) == 2  # neither is always first

    for alone, with_child in zip(intervals["a"], intervals["b"], strict=True):
        assert alone.memory > 10
        assert with_child.memory > alone.memory + 200  # of the child's 256 MiB
    assert ends(int(Path(log + ".pid").read_text()))


def test_a_candidate_that_ends_early_is_an_error_and_all_processes_end(candidate, tmp_path):
    log = str(tmp_path / "log")
    candidates = {
        "a": candidate("counts.py", "a", log, "3", "child", "ends"),
        "b": candidate("counts.py", "b", log, "5"),
    }
    with pytest.raises(UserError, match=r"counts\.py ended early: There is no more\.$"):
        interleave_processes(candidates, 6)
    assert ends(int(Path(log + ".pid").read_text()))
    assert ends(int(Path(log + ".b").read_text()))
