"""The settings that all trainings on Atari games share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from rl_coordconv.envs.games import Protocol, game_name
from rl_coordconv.names import NAMES, find_by_name
from rl_coordconv.runs.config import Config

PROTOCOL_HELP = (
    "classic: losing a life ends a training episode; sticky: sticky actions with "
    "p = 0.25, and only game over ends an episode (Machado et al. 2018)"
)


class GameConfig(Config):
    """Base of the settings of a training on a game. A step is one agent action, of four frames."""

    unit = "steps"
    length_setting = "total_timesteps"
    folder_settings = frozenset({"extractor", "env"})

    extractor: str = Field(description=f"network, with or without coordinates: {', '.join(NAMES)}")
    env: str = Field(description="game, such as MsPacman, ms_pacman or ALE/MsPacman-v5")

    if TYPE_CHECKING:
        # The subclasses declare it, because the order of fields is that in the variants' names.
        protocol: Protocol

    @property
    def algorithm(self) -> str:
        """Stable-Baselines3's name of the algorithm that the agent is saved as, in lower case."""
        return self.experiment

    @property
    def folder(self) -> Path:
        """The run folder, such as ``<log_dir>/a2c/MsPacman/coordconv/seed-0``."""
        variant = self.variant(self.extractor)
        return Path(self.log_dir, self.experiment, self.env, variant, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        """The column with the mean score of the last 100 training games."""
        return "rollout/ep_rew_mean"

    @field_validator("extractor")
    @classmethod
    def _known_extractor(cls, name: str) -> str:
        find_by_name(name, NAMES)
        return name

    @field_validator("env")
    @classmethod
    def _known_game(cls, name: str) -> str:
        return game_name(name)
