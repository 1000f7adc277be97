"""Games in a window; with Xvfb also in a real one."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from atari_commands import evaluate
from PIL import Image
from rich.console import Console
from stable_baselines3 import A2C

from rl_coordconv.envs import make_atari_env
from rl_coordconv.experiments.atari import window as window_module
from rl_coordconv.experiments.atari.play import PlaySettings
from rl_coordconv.experiments.atari.window import open_window, show_games

tkinter = pytest.importorskip("tkinter")  # some builds of Python lack it


class ClosedAfter:
    """A window that is closed after some frames."""

    def __init__(self, frames: int) -> None:
        self.is_open, self.shown, self._frames = True, [], frames

    def show(self, image: Image.Image) -> None:
        self.shown.append(image.size)
        self.is_open = len(self.shown) < self._frames


@pytest.fixture(scope="module")
def agent() -> A2C:
    env = make_atari_env("MsPacman", 1, backend="sb3")
    env.close()
    return A2C("CnnPolicy", env, seed=0, device="cpu")


class TestGames:
    def test_are_shown_until_all_are_over(self, agent, capsys):
        window = ClosedAfter(frames=100_000)
        show_games(agent, PlaySettings("MsPacman"), 1, "title", window, Console())
        assert len(window.shown) > 400
        assert set(window.shown) == {(480, 672)}
        out = capsys.readouterr().out
        assert "Game 1: score" in out
        assert "Mean score" in out

    def test_end_when_the_window_is_closed(self, agent, capsys):
        window = ClosedAfter(frames=30)
        show_games(agent, PlaySettings("MsPacman"), 9, "title", window, Console())
        assert len(window.shown) == 30
        assert capsys.readouterr().out == ""  # no game is over


@pytest.fixture
def display(monkeypatch) -> Iterator[None]:
    if not shutil.which("Xvfb"):
        pytest.skip("A real window needs Xvfb, a display without a screen.")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "800x700x24"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
        yield
        server.terminate()


def test_a_real_window_shows_images_until_it_is_closed(display):
    with open_window("Pac-Man") as window:
        for colour in ("red", "green"):
            window.show(Image.new("RGB", (480, 672), colour))
        root = window._root
        assert (root.winfo_width(), root.winfo_height()) == (480, 672)
        assert window._photo._PhotoImage__photo.get(9, 9) == (0, 128, 0)
        assert window.is_open
        root.focus_force()
        root.update()
        root.event_generate("<Escape>")
        root.update()
        assert not window.is_open


class TestWithoutAWindow:
    def test_the_command_says_why(self, short_run, capsys, monkeypatch):
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        before = short_run.evaluations.read_text()
        assert evaluate(short_run.folder, "--render", "human") == 2
        error = capsys.readouterr().err
        assert error == "There is no display for a window; record a game with --gif.\n"
        assert short_run.evaluations.read_text() == before

    def test_or_that_tkinter_is_missing(self, short_run, capsys, monkeypatch):
        def import_nothing(name: str) -> None:
            raise ImportError(name)

        monkeypatch.setattr(window_module, "import_module", import_nothing)
        assert evaluate(short_run.folder, "--render", "human") == 2
        assert "apt install python3-tk" in capsys.readouterr().err
