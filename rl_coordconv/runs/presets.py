"""Settings with presets: the paper's, and a quick variant for two CPU cores."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from rl_coordconv.runs.config import Config, Defaults, TrainingConfig, UserError, nearest, read_yaml
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.ranks import is_main

Preset = Literal["paper", "quick"]
PRESET_HELP = "paper: the paper's settings; quick: a shorter training"


class WithPresets(Config):
    """Settings of a training whose file in ``configs/`` has presets.

    The file's block ``paper`` has a value for every setting, ``quick`` those that differ. The
    subclass declares the field ``preset``, because the order of fields is that of flags.
    """

    @classmethod
    def find_defaults(cls, path: Path, flags: Mapping[str, object]) -> Defaults:
        """Return the default settings of a preset, by default ``quick``.

        Args:
            path: The experiment's file in ``configs/``.
            flags: Values of ``preset`` and ``config``, where given. Settings in the file
                ``config`` override the preset's.

        Raises:
            UserError: There is no such preset, or a file cannot be read.
        """
        own = Defaults(path, {}).overridden_by(flags.get("config")).values
        preset = str({"preset": "quick", **own, **flags}["preset"])
        values = {**preset_values(str(path), read_yaml(path), preset), "preset": preset}
        return Defaults(path, values).overridden_by(flags.get("config"))


class PresetConfig(TrainingConfig, WithPresets):
    """Settings of a supervised training with presets."""


def preset_values(place: str, blocks: Any, preset: str) -> dict[str, Any]:
    """Return the settings of a preset.

    Args:
        place: The file and the place in it, for errors.
        blocks: Settings by preset; ``quick`` overrides ``paper``.
        preset: ``paper`` or ``quick``.

    Raises:
        UserError: There is no such preset, or there are no settings for it.
    """
    if preset not in get_args(Preset):
        raise UserError(f"There is no preset {preset!r}; {nearest(preset, get_args(Preset))}")
    try:
        return {**blocks["paper"], **(blocks["quick"] if preset == "quick" else {})}
    except (KeyError, TypeError):
        raise UserError(f"{place} has no settings for the preset {preset}.") from None


def print_quick_time(run: Run, seconds: float, core: str) -> None:
    """Print how long a run of the quick preset takes, unless it resumes.

    Args:
        run: The run.
        seconds: Measured seconds of training, without evaluations.
        core: The processor that was measured.
    """
    if is_main() and not run.saved:
        about = f"{seconds / 60:.0f} min" if seconds > 120 else f"{seconds:.0f} s"
        run.print(f"Training takes about {about} on one core of {core}; evaluations are extra.")
