"""Videos of an agent's games: the emulator's frames in colour, with the score.

An MP4 is written frame by frame, because the frames of a long game can take gigabytes. A GIF, with
fewer frames and colours, is written at once.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_coordconv.experiments.atari.play import PlaySettings, open_games
from rl_coordconv.runs.checkpoint import derived_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.files import atomic_write

FRAMES_PER_SECOND = 60
_STREAM = 3  # separates recorded games from others of the same seed
_GIF_EVERY = 4  # every fourth frame: 15 per second
_STRIP = 14  # height in pixels of the strip with title and score

ScoredFrame = tuple[NDArray[np.uint8], float]
"""A frame, ``[H, W, 3]``, and the raw score so far."""


def record_best(
    model: BaseAlgorithm,
    settings: PlaySettings,
    n_games: int,
    title: str,
    paths: Sequence[Path],
    console: Console,
) -> None:
    """Record the best of several games, and print its score.

    Args:
        model: The agent.
        settings: How it plays; game i has the seed ``settings.seed + i``.
        n_games: Number of games.
        title: Text to show above the game.
        paths: The files to write: ``.mp4`` or ``.gif``.
        console: Where to print.

    Raises:
        UserError: The agent does not fit the game, or the package that encodes MP4 is missing.
    """
    trials = [replace(settings, seed=settings.seed + i) for i in range(n_games)]
    scores: list[float] = []
    with Bar(console, n_games, "games to record") as bar:
        for trial in trials:
            scores.append(final_score(render_game(model, trial)))
            bar.update(len(scores), f"best score {max(scores):,.0f}")
    best = int(np.argmax(scores))
    chosen = f"the best of {n_games} other games" if n_games > 1 else "another game"
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        write = write_mp4 if path.suffix == ".mp4" else write_gif
        write(render_game(model, trials[best]), path, title)
        console.print(f"Saved {path} ({chosen}, score {scores[best]:,.0f})", soft_wrap=True)


def render_game(model: BaseAlgorithm, settings: PlaySettings) -> Generator[ScoredFrame, None, None]:
    """Play one whole game, and yield each frame of the emulator.

    Args:
        model: The agent.
        settings: How it plays.

    Raises:
        UserError: The agent does not fit the game.
    """
    seed = derived_seed(settings.seed, _STREAM)
    with open_games(model, settings, n_envs=1, env_seed=seed, collect_frames=True) as env:
        observations = env.reset()
        score, is_over = 0.0, False
        while not is_over:
            for frame in env.env_method("render")[0]:
                yield frame, score
            # Stable-Baselines3 annotates `reset` more widely than what `predict` takes.
            actions, _ = model.predict(observations, deterministic=settings.deterministic)  # type: ignore[arg-type]
            observations, rewards, dones, _ = env.step(actions)
            score += float(rewards[0])
            is_over = bool(dones[0])
        yield frame, score  # the env has reset, so the last step's frames are lost


def require_encoder() -> None:
    """Raise a `UserError` if the package that encodes MP4 is missing."""
    if find_spec("imageio_ffmpeg") is None:
        raise UserError("Videos need another package: pip install 'rl_coordconv[video]'.")


def final_score(frames: Iterable[ScoredFrame]) -> float:
    """Return the score at the end of a game."""
    ((_, score),) = deque(frames, maxlen=1)
    return score


def write_mp4(frames: Iterable[ScoredFrame], path: Path, title: str) -> None:
    """Write an MP4 (H.264) at the game's speed, 60 frames per second, and twice its size.

    Raises:
        UserError: The package that encodes MP4 is missing.
    """
    require_encoder()
    images = (with_score(frame, score, title, 2) for frame, score in frames)
    first = next(images)
    with atomic_write(path) as temporary:
        writer = import_module("imageio_ffmpeg").write_frames(
            str(temporary),
            first.size,
            fps=FRAMES_PER_SECOND,
            codec="libx264",
            quality=7,
            macro_block_size=2,
        )
        writer.send(None)
        for image in itertools.chain([first], images):
            writer.send(image.tobytes())
        writer.close()


def write_gif(frames: Iterable[ScoredFrame], path: Path, title: str) -> None:
    """Write a GIF at the game's speed, with 15 frames per second, and at the game's size."""
    images = [image.quantize(32) for image in _gif_images(iter(frames), title)]
    # GIF delays are multiples of 10 ms: for 15 frames per second they are 70, 70, 60 ms in turn.
    milliseconds = [(70, 70, 60)[i % 3] for i in range(len(images))]
    with atomic_write(path) as temporary:
        images[0].save(
            temporary, save_all=True, append_images=images[1:], duration=milliseconds, loop=0
        )


def _gif_images(frames: Iterator[ScoredFrame], title: str) -> Iterator[Image.Image]:
    while group := list(itertools.islice(frames, _GIF_EVERY)):
        # Games draw some objects in every other frame only; two frames together show all.
        both = np.maximum(group[0][0], group[1 % len(group)][0])
        yield with_score(both, group[0][1], title, 1)


def with_score(frame: NDArray[np.uint8], score: float, title: str, scale: int) -> Image.Image:
    """Return a frame, enlarged, below a strip with the title and the score."""
    height, width = frame.shape[0] * scale, frame.shape[1] * scale
    strip = _STRIP * scale
    image = Image.new("RGB", (width, height + strip))
    size = (width, height)
    image.paste(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST), (0, strip))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(10 * scale)
    draw.text((2 * scale, scale), title, "#a0a0a0", font)
    draw.text((width - 2 * scale, scale), f"{score:,.0f}", "white", font, anchor="ra")
    return image
