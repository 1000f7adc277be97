"""A minimal config, shared by tests."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rl_coordconv.runs.config import Config


class BareConfig(Config):
    """Settings of a run that does nothing."""

    unit = "steps"
    length_setting = "save_freq"

    experiment: Literal["tiny"] = "tiny"

    @property
    def folder(self) -> Path:
        return Path(self.log_dir, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        return "score"


BASE = {"seed": 0, "device": "cpu", "num_threads": 1, "save_freq": 1}
"""Values of the settings that every run has, except ``log_dir``."""
