import io

import pytest
from rich.console import Console

from rl_coordconv import terminal
from rl_coordconv.terminal import Bar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_a_bar():
    output = io.StringIO()
    bar = Bar(Console(file=output, force_terminal=True, width=80), 2000, "steps")
    bar.start(500)
    bar.update(1500, "score 7")
    bar.stop()
    assert "1,500 / 2,000 steps score 7" in output.getvalue()


def test_a_file_gets_a_line_a_minute(clock, capsys):
    bar = Bar(Console(file=io.StringIO()), 2000, "steps")
    bar.start(0)
    for now, completed in ((10, 100), (61, 600), (62, 610), (122, 1200)):
        clock[0] = now
        bar.update(completed, "score 7")
    bar.stop()
    assert capsys.readouterr().out.splitlines() == [
        "600 / 2,000 steps, score 7",
        "1,200 / 2,000 steps, score 7",
    ]
