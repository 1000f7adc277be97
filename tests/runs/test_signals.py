import os
import signal
import subprocess
import sys

import pytest

from rl_coordconv.runs.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received is number
        os.kill(os.getpid(), signal.SIGTERM)  # by another one who wants the same
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.slow
def test_tests_pass_where_sigint_is_ignored():
    """As in `nohup pytest &` of a script."""
    command = [sys.executable, "-m", "pytest", "-n0", "-q", __file__, "-k", "is_noted"]

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    subprocess.run(command, preexec_fn=ignore, check=True)
