import subprocess
import sys

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from rl_coordconv.device import DeviceName, use_device


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_takes_what_every_machine_has(name):
    assert TypeAdapter(DeviceName).validate_python(name) == name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("tpu", "There is no device 'tpu'; take auto, cpu, cuda or cuda:N."),
        ("cuda:99", "There is no cuda:99 device on this machine; take --device cpu."),
    ],
)
def test_says_what_to_take_instead(name, wanted):
    with pytest.raises(ValidationError, match=wanted):
        TypeAdapter(DeviceName).validate_python(name)


def test_auto_takes_a_gpu_if_there_is_one():
    assert use_device("auto", 0).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_sets_the_threads():
    before = torch.get_num_threads()
    try:
        use_device("cpu", 1)
        assert torch.get_num_threads() == 1
        use_device("cpu", 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of glibc's malloc")
def test_freed_memory_serves_the_next_tensor():
    """In processes of their own: pages that the system has to find and clear, with and without."""
    program = """
import resource, sys, torch
from rl_coordconv.device import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for tensor in range(30):
    if tensor == 10:
        before = faults()
    torch.ones(2**24)  # 64 MiB: glibc never keeps more than 32 of its own accord
print(faults() - before)
"""

    def faults(memory: str) -> int:
        command = [sys.executable, "-c", program, memory]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    # A small allocation may land where the last tensor lay, and then the heap has to grow.
    assert faults("keep") < faults("give back") / 2
