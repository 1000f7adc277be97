import itertools
import re
import subprocess
import sys

import imageio_ffmpeg
import numpy as np
import pytest
from ale_py import ALEInterface, LoggerMode
from atari_commands import evaluate, save_elsewhere
from PIL import Image, ImageSequence
from stable_baselines3 import A2C, DQN

from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.experiments.atari import video
from rl_coordconv.experiments.atari.play import PlaySettings
from rl_coordconv.experiments.atari.video import (
    ScoredFrame,
    final_score,
    render_game,
    write_gif,
    write_mp4,
)
from rl_coordconv.runs.config import UserError

HEIGHT, WIDTH = 210, 160
PIPES = {"capture_output": True, "check": True}


@pytest.fixture(scope="module")
def agent() -> A2C:
    """An untrained agent."""
    env = make_atari_env("MsPacman", 1, backend="sb3")
    env.close()
    return A2C("CnnPolicy", env, seed=0, device="cpu")


@pytest.fixture(scope="module")
def game(agent) -> list[ScoredFrame]:
    return list(render_game(agent, PlaySettings("MsPacman", seed=1)))


def dummy(n: int) -> list[ScoredFrame]:
    """Return frames of increasing brightness, whose score is ten times their number."""
    return [(np.full((HEIGHT, WIDTH, 3), i % 256, np.uint8), 10.0 * i) for i in range(n)]


class TestRenderedGame:
    def test_has_every_frame_in_colour(self, game):
        frames = [frame for frame, _ in game]
        assert len(frames) > 400
        assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
        assert np.any(frames[100][..., 0] != frames[100][..., 2])
        # An emulated game moves from frame to frame, not from step to step.
        changes = [np.any(a != b) for a, b in itertools.pairwise(frames)]
        assert np.mean(changes) > 0.9

    def test_the_score_only_grows_and_is_the_games_own(self, game):
        scores = [score for _, score in game]
        assert scores == sorted(scores)
        assert scores[0] == 0
        assert scores[-1] == final_score(game) >= 60
        assert scores[-1] % 10 == 0

    def test_the_same_seed_renders_the_same_game(self, agent, game):
        again = list(render_game(agent, PlaySettings("MsPacman", seed=1)))
        assert [score for _, score in again] == [score for _, score in game]
        np.testing.assert_array_equal(again[-1][0], game[-1][0])


def test_an_exploring_agent_plays_the_same_game_again():
    env = make_atari_env("MsPacman", 1, backend="sb3")
    env.close()
    agent = DQN("CnnPolicy", env, buffer_size=1, device="cpu")
    agent.exploration_rate = 0.5
    scores = {final_score(render_game(agent, PlaySettings("MsPacman", seed=3))) for _ in range(2)}
    assert len(scores) == 1


class TestMp4:
    def test_runs_at_the_games_own_speed_twice_as_large(self, tmp_path):
        write_mp4(dummy(30), tmp_path / "video.mp4", "title")
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", tmp_path / "video.mp4"]
        read = subprocess.run([*ffmpeg, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], **PIPES)
        about = read.stderr.decode()
        assert "Video: h264" in about
        assert "60 fps" in about
        frames = np.frombuffer(read.stdout, np.uint8).reshape(-1, 2 * HEIGHT + 28, 2 * WIDTH, 3)
        assert len(frames) == 30
        assert abs(float(frames[-1][100:].mean()) - 29) < 3
        assert frames[-1][:28].max() > 200  # the score, in white

    def test_says_which_package_is_missing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(video, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"pip install 'rl_coordconv\[video\]'"):
            write_mp4(dummy(2), tmp_path / "video.mp4", "title")
        assert not list(tmp_path.iterdir())


class TestGif:
    def test_runs_at_the_games_own_speed(self, tmp_path):
        write_gif(dummy(120), tmp_path / "video.gif", "title")
        with Image.open(tmp_path / "video.gif") as image:
            durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
            assert image.size == (WIDTH, HEIGHT + 14)
        assert sum(durations) == 2000  # 120 frames at 60 a second

    def test_shows_what_is_drawn_in_every_other_frame_only(self, tmp_path):
        shown = dummy(8)
        for frame, _ in shown[1::2]:
            frame[100, 100] = 255
        write_gif(shown, tmp_path / "video.gif", "title")
        with Image.open(tmp_path / "video.gif") as image:
            assert image.convert("RGB").getpixel((100, 114))[0] > 200


@pytest.mark.slow
def test_the_command_records_both_files_and_shows_scores(tmp_path, monkeypatch, capfd):
    """The files are saved in the run folder, and ale-py prints no banner."""
    monkeypatch.chdir(tmp_path)
    ALEInterface.setLoggerMode(LoggerMode.Info)
    (tmp_path / "mine").mkdir()
    agent = save_elsewhere(tmp_path / "mine" / "agent.zip", "A2C", seed=0)
    flags = ("--trust", "--env", "MsPacman", "--video", "--gif", "--best-of", 2)
    assert evaluate(agent, *flags, "--episodes", 1) == 0
    name = "agent-step-0000000000-MsPacman-best-of-2"
    files = {path.name for path in (tmp_path / "mine" / "videos").iterdir()}
    assert files == {f"{name}.mp4", f"{name}.gif"}
    out, err = capfd.readouterr()
    assert "mean score" in out
    assert re.search(rf"Saved .*{name}\.gif \(the best of 2 other games, score \d+\)", out)
    assert err == ""
    assert "moviepy" not in sys.modules
