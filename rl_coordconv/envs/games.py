"""Names of the Atari games, protocols and backends, without importing torch."""

from __future__ import annotations

import difflib
import re
from typing import Literal

import gymnasium as gym
from ale_py.registration import rom_id_to_name
from ale_py.roms import get_all_rom_ids

from rl_coordconv.runs.config import UserError

Backend = Literal["native", "sb3"]
Protocol = Literal["classic", "sticky"]

# The games that ale-py registers, all for one player: loading others ends the process.
GAMES: dict[str, str] = {
    rom_id_to_name(rom): rom
    for rom in sorted(get_all_rom_ids())
    if f"ALE/{rom_id_to_name(rom)}-v5" in gym.registry
}
"""ROM names by game: ``{"MsPacman": "ms_pacman", ...}``."""


def game_name(name: str) -> str:
    """Return the canonical name of a game, such as ``MsPacman``.

    Args:
        name: The game's name, ROM or Gymnasium id, in any case: ``mspacman``, ``ms_pacman``,
            ``ale_py:ALE/MsPacman-v5``, ``MsPacmanNoFrameskip-v4``.

    Raises:
        UserError: The game is unknown; the message suggests the nearest one.
    """
    games = {_letters(game): game for game in GAMES}
    letters = _letters(name)
    if letters in games:
        return games[letters]
    nearest = difflib.get_close_matches(letters, games, n=1)
    hint = f"; did you mean {games[nearest[0]]}?" if nearest else "."
    raise UserError(f"There is no Atari game {name!r}{hint}")


def _letters(name: str) -> str:
    """Reduce any spelling of a game's name to its letters and digits, such as ``mspacman``."""
    return re.sub(
        r"^[\w.]+:(ale/)?|^ale/|(noframeskip|deterministic)?(-v\d+)?$|[\W_]", "", name.lower()
    )
