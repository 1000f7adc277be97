"""A window that shows an agent's games at the game's speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm

from rl_coordconv.experiments.atari.play import PlaySettings
from rl_coordconv.experiments.atari.video import FRAMES_PER_SECOND, render_game, with_score
from rl_coordconv.runs.config import UserError

_SCALE = 3  # screen pixels per pixel of the game


class Window:
    """A Tk window that shows images; its close button, Esc or Q close it.

    Args:
        root: The ``tkinter.Tk`` to draw in.
        title: The window's title.
    """

    def __init__(self, root: Any, title: str) -> None:
        self.is_open = True
        self._root, self._due = root, time.monotonic()
        root.title(title)
        root.resizable(False, False)
        root.protocol("WM_DELETE_WINDOW", self._close)
        for key in ("<Escape>", "q"):
            root.bind(key, self._close)
        self._label = import_module("tkinter").Label(root, borderwidth=0)
        self._label.pack()
        self._photo: Any = None

    def show(self, image: Image.Image) -> None:
        """Wait until the previous image was shown for 1/60 s, and show an image."""
        image_tk = import_module("PIL.ImageTk")
        if self._photo is None:
            self._photo = image_tk.PhotoImage(image, master=self._root)
            self._label.configure(image=self._photo)
        else:
            self._photo.paste(image)
        self._root.update()
        # After a delay, show images faster to catch up, but by at most 0.1 s.
        self._due = max(self._due + 1 / FRAMES_PER_SECOND, time.monotonic() - 0.1)
        time.sleep(max(self._due - time.monotonic(), 0))

    def _close(self, _: object = None) -> None:
        self.is_open = False


@contextmanager
def open_window(title: str) -> Iterator[Window]:
    """Open a window while the block lasts.

    Raises:
        UserError: There is no display, or no tkinter.
    """
    try:
        tkinter = import_module("tkinter")
    except ImportError:
        raise UserError(
            "A window needs Python's tkinter (Debian: apt install python3-tk); --gif works without."
        ) from None
    try:
        root = tkinter.Tk()
    except tkinter.TclError:
        raise UserError("There is no display for a window; record a game with --gif.") from None
    try:
        yield Window(root, title)
    finally:
        root.destroy()


def show_games(
    model: BaseAlgorithm,
    settings: PlaySettings,
    n_games: int,
    title: str,
    window: Window,
    console: Console,
) -> None:
    """Show games until the window is closed, and print the scores.

    The scores are not saved: games that a viewer watches to the end are a biased sample.

    Args:
        model: The agent.
        settings: How it plays; game i has the seed ``settings.seed + i``.
        n_games: Maximum number of games.
        title: Text to show above the game.
        window: Where to show them.
        console: Where to print the scores.

    Raises:
        UserError: The agent does not fit the game.
    """
    scores: list[float] = []
    for i in range(n_games):
        score = 0.0
        with closing(render_game(model, replace(settings, seed=settings.seed + i))) as frames:
            for frame, score in frames:
                window.show(with_score(frame, score, title, _SCALE))
                if not window.is_open:
                    break
        if not window.is_open:
            break
        scores.append(score)
        console.print(f"Game {i + 1}: score {score:,.0f}")
    if scores:
        console.print(f"Mean score {np.mean(scores):,.1f} (scores of watched games are not saved).")
