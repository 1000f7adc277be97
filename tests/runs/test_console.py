import io

import pytest
from rich.console import Console
from rich.text import Text
from tiny import BASE, BareConfig

from rl_coordconv.runs import console
from rl_coordconv.runs.console import Bar, summary
from rl_coordconv.runs.folder import Run


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_gets_a_bar():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with Bar(console, 2000, "steps", completed=500) as bar:
        bar.update(1500, "score 7")
    assert "1,500 / 2,000 steps score 7" in output.getvalue()


def test_a_bar_leaves_room_for_the_terminals_ctrl_c():
    """Regression: on a full line, ``^C`` wrapped and the bar was drawn twice."""
    output = io.StringIO()
    with Bar(Console(file=output, force_terminal=True, width=80), 2000, "steps") as bar:
        bar.note("evaluating 3/10, and more about that, which is more than there is room for")
    lines = [Text.from_ansi(line).cell_len for line in output.getvalue().split("\r")]
    assert 70 < max(lines) <= 76


def test_a_file_gets_one_line_per_minute(clock, capsys):
    with Bar(Console(file=io.StringIO()), 2000, "steps") as bar:
        for now, completed in ((10, 100), (61, 600), (62, 610), (122, 1200)):
            clock[0] = now
            bar.update(completed, "score 7")
        clock[0] = 190
        bar.note("evaluating 3/10")
    assert capsys.readouterr().out.splitlines() == [
        "600 / 2,000 steps, score 7",
        "1,200 / 2,000 steps, score 7",
        "1,200 / 2,000 steps, evaluating 3/10",
    ]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_quiet_console_gets_nothing(is_terminal, clock, capsys):
    output = io.StringIO()
    console = Console(file=output, force_terminal=is_terminal, quiet=True)
    with Bar(console, 2000, "steps") as bar:
        clock[0] = 61
        bar.update(600, "score 7")
    assert output.getvalue() + capsys.readouterr().out == ""


def test_the_summary_shows_a_long_path_whole(tmp_path):
    output = io.StringIO()
    folder = "/".join(["folder"] * 30)
    Console(file=output, width=80).print(summary(BareConfig(**BASE, log_dir=folder), Run(tmp_path)))
    assert folder in "".join(line.strip() for line in output.getvalue().split("watch")[0].split())
