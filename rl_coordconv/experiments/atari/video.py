"""Films of an agent's games: every frame of the emulator, in colour, with the score.

A film is not held as a whole, as a long game has gigabytes of frames; a GIF, small and with few
colours, is.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_coordconv.envs.atari import Protocol, make_atari_env
from rl_coordconv.experiments.atari.agents import check_fit
from rl_coordconv.runs.checkpoint import environment_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import atomic_write

FRAMES_PER_SECOND = 60
_STREAM = 3  # keeps filmed games apart from others of the same seed
_GIF_EVERY = 4  # frames; 15 a second
_STRIP = 14  # pixels above the game, for the score

Frame = NDArray[np.uint8]
Shot = tuple[Frame, float]
"""A frame, ``[H, W, 3]``, uint8, and the raw score at it."""


def film(
    model: BaseAlgorithm,
    game: str,
    *,
    protocol: Protocol = "classic",
    deterministic: bool = False,
    seed: int = 0,
) -> Iterator[Shot]:
    """Film one whole game, emulator frame by emulator frame.

    Args:
        model: The agent.
        game: Any spelling that `envs.game_name` knows.
        protocol: See `make_atari_env`.
        deterministic: Take the likeliest action instead of drawing one.
        seed: Of the game and the actions.

    Raises:
        UserError: The agent does not fit the game.
    """
    # The native backend does not render.
    env = make_atari_env(
        game, 1, protocol=protocol, backend="sb3", training=False, collect_frames=True
    )
    try:
        check_fit(model, env, game)
        env.seed(environment_seed(seed, _STREAM))
        model.set_random_seed(seed)  # of torch, and of NumPy, by which a DQN explores
        observations = env.reset()
        score, over = 0.0, False
        while not over:
            for frame in env.env_method("render")[0]:
                yield frame, score
            # Stable-Baselines3 annotates `reset` more widely than what `predict` takes.
            actions, _ = model.predict(observations, deterministic=deterministic)  # type: ignore[arg-type]
            observations, rewards, dones, _ = env.step(actions)
            score += float(rewards[0])
            over = bool(dones[0])
        yield frame, score  # what the last step showed is gone: the next game has begun
    finally:
        env.close()


def require_encoder() -> None:
    """Raise a `UserError` where the package that encodes is missing."""
    if find_spec("imageio_ffmpeg") is None:
        raise UserError("Videos need another package: pip install -e '.[video]'.")


def final_score(shots: Iterable[Shot]) -> float:
    """The score at the end of a film."""
    ((_, score),) = deque(shots, maxlen=1)
    return score


def write_mp4(shots: Iterable[Shot], path: Path, title: str) -> None:
    """Write a film at the game's own speed, twice as large, as browsers play it (H.264).

    Raises:
        UserError: The package that encodes is missing.
    """
    require_encoder()
    images = (_with_score(frame, score, title, 2) for frame, score in shots)
    first = next(images)
    settings: dict[str, Any] = {"fps": FRAMES_PER_SECOND, "codec": "libx264", "quality": 7}
    with atomic_write(path) as temporary:
        write_frames = import_module("imageio_ffmpeg").write_frames
        writer = write_frames(str(temporary), first.size, macro_block_size=2, **settings)
        writer.send(None)
        for image in itertools.chain([first], images):
            writer.send(image.tobytes())
        writer.close()


def write_gif(shots: Iterable[Shot], path: Path, title: str) -> None:
    """Write a film at the game's own speed, 15 frames a second, at the game's own size."""
    images = [image.quantize(32) for image in _gif_images(iter(shots), title)]
    # A GIF counts hundredths of a second: 15 frames a second are 70, 70, 60 milliseconds in turn.
    milliseconds = [(70, 70, 60)[i % 3] for i in range(len(images))]
    with atomic_write(path) as temporary:
        images[0].save(
            temporary, save_all=True, append_images=images[1:], duration=milliseconds, loop=0
        )


def _gif_images(shots: Iterator[Shot], title: str) -> Iterator[Image.Image]:
    while group := list(itertools.islice(shots, _GIF_EVERY)):
        # Games draw some things in every other frame only: two together show all.
        both = np.maximum(group[0][0], group[1 % len(group)][0])
        yield _with_score(both, group[0][1], title, 1)


def _with_score(frame: Frame, score: float, title: str, scale: int) -> Image.Image:
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
