import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rl_coordconv.runs.signals import Stopped, StopSignals, end_import


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_is_recorded_and_handlers_are_restored(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert signals.received is number
        os.kill(os.getpid(), signal.SIGTERM)  # from a second sender
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_message_is_printed_once_and_immediately(capfd):
    with StopSignals("saving the run.") as signals:
        assert signals.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert capfd.readouterr().out == "SIGTERM received: saving the run.\n"
    assert capfd.readouterr().out == ""


def test_a_message_in_an_evaluation_is_complete_when_the_evaluation_stops(capfd):
    """Regression: another thread printed it, to a stream that the ending bar had closed."""
    stop = StopSignals("finishing this update.")
    with stop as signals, pytest.raises(Stopped), signals.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
    assert capfd.readouterr().out == "SIGTERM received: stopping.\n"


ROOT = Path(__file__).parents[2]
SCRIPTS = [[str(script)] for script in sorted((ROOT / "scripts").glob("*.py"))]


@pytest.mark.parametrize(
    "words",
    [*SCRIPTS, ["-m", "rl_coordconv", "evaluate"]],
    ids=lambda words: Path(words[-1]).stem,
)
def test_ctrl_c_ends_a_script_quietly_while_it_imports(tmp_path, words):
    """Regression: it printed a traceback, or torch's import caught the exception."""
    # Every script imports this.
    (tmp_path / "yaml.py").write_text("import time; print('importing', flush=True); time.sleep(60)")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate()
    assert (process.returncode, out, error) == (-signal.SIGINT, "", "")


def test_ctrl_c_raises_an_exception_again_after_the_imports():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    end_import()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as by `nohup`
    end_import()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@pytest.mark.slow
def test_tests_pass_where_sigint_is_ignored():
    """SIGINT is ignored in a script's `nohup pytest &`, for example."""
    command = [sys.executable, "-m", "pytest", "-n0", "-q", __file__, "-k", "is_recorded"]

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    subprocess.run(command, preexec_fn=ignore, check=True)
