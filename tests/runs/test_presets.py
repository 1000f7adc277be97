"""Settings with presets."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field
from tiny import BASE

from rl_coordconv.runs.config import Count, UserError
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.presets import Preset, PresetConfig, preset_values, print_quick_time

FILE = """
paper: {seed: 0, width: 64, n_epochs: 50, eval_freq: 1}
quick: {n_epochs: 2}
"""


class PaintingConfig(PresetConfig):
    experiment: Literal["painting"] = "painting"
    preset: Preset = Field(description="preset")
    width: Count = Field(description="width")

    @property
    def score(self) -> str:
        return "score"

    @property
    def folder(self) -> Path:
        return Path(self.log_dir)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "painting.yaml"
    path.write_text(FILE)
    return path


def load(file: Path, **flags: object) -> PaintingConfig:
    settings = {**BASE, "log_dir": "runs", **flags}
    return PaintingConfig.load(PaintingConfig.find_defaults(file, flags), settings)


def test_quick_is_the_default_and_overrides_the_paper(file):
    config = load(file)
    assert (config.preset, config.n_epochs, config.width) == ("quick", 2, 64)
    assert load(file, preset="paper").n_epochs == 50


def test_settings_of_the_user_override_the_preset_that_they_choose(file, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("preset: paper\nwidth: 32\n")
    defaults = PaintingConfig.find_defaults(file, {"config": str(mine)})
    assert defaults.values == {
        "seed": 0,
        "width": 32,
        "n_epochs": 50,
        "eval_freq": 1,
        "preset": "paper",
    }


def test_mistakes_are_one_sentence_errors(file):
    with pytest.raises(UserError, match=r"^There is no preset 'quik'; did you mean quick\?$"):
        load(file, preset="quik")
    for blocks in (None, [], {"quick": {}}, {"paper": None, "quick": {}}):
        with pytest.raises(UserError, match=r"^x has no settings for the preset quick\.$"):
            preset_values("x", blocks, "quick")


def test_the_time_of_a_quick_run_is_printed_before_it_starts(tmp_path, capsys):
    run = Run(tmp_path)
    print_quick_time(run, 90, "a chip")
    print_quick_time(run, 590, "a chip")
    end = "on one core of a chip; evaluations are extra.\n"
    both = f"Training takes about 90 s {end}Training takes about 10 min {end}"
    assert capsys.readouterr().out == both
    run.checkpoints.mkdir()
    (run.checkpoints / "step-0000000001.pt").touch()
    print_quick_time(run, 90, "a chip")
    assert capsys.readouterr().out == ""
