import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts the page faults of glibc's malloc")
def test_freed_memory_is_reused_for_the_next_tensor():
    """Compare the page faults of two processes, with and without `keep_freed_memory`."""
    program = """
import resource, sys, torch
from rl_coordconv.speedups.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for tensor in range(30):
    if tensor == 10:
        before = faults()
    torch.ones(2**24)  # 64 MiB: by default glibc keeps at most 32 MiB
print(faults() - before)
"""

    def faults(memory: str) -> int:
        command = [sys.executable, "-c", program, memory]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    # Not 0: a small allocation may split the freed block, and then the heap has to grow.
    assert faults("keep") < faults("give back") / 2
