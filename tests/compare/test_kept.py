"""Results that are kept with the code."""

import gzip
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from fake_runs import write_run

from rl_coordconv.compare.kept import keep
from rl_coordconv.compare.results import BrokenRun, read_run
from rl_coordconv.runs.config import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "report_results.py"


def main(*arguments: object) -> int:
    spec = importlib.util.spec_from_file_location("report_results", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main([str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three seeds of two arms, and one that is not finished."""
    for arm in ("nature", "coordconv"):
        for seed in range(3):
            (write_run(tmp_path / "runs", arm, seed) / "versions.json").write_text("{}")
    write_run(tmp_path / "runs", "coordconv", 3, done=False)
    return tmp_path / "runs"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of docs with a place for results, and without any."""
    about = tmp_path / "docs" / "results" / "short" / "about.md"
    about.parent.mkdir(parents=True)
    about.write_text("How they were made.\n")
    return tmp_path / "docs"


def test_a_kept_run_reads_as_the_run_itself(runs, tmp_path):
    keep(runs, tmp_path / "kept")
    place = Path("a2c", "MsPacman", "nature", "seed-1")
    before, after = read_run(runs / place), read_run(tmp_path / "kept" / place)
    for name in ("steps", "hours", "returns", "evaluation_steps", "evaluation_returns"):
        assert np.array_equal(getattr(before, name), getattr(after, name))
    assert after.settings == before.settings
    files = {path.name for path in (tmp_path / "kept" / place).iterdir()}
    assert files == {"config.yaml", "versions.json", "episodes.csv.gz", "evaluations.csv"}


def test_only_finished_runs_are_kept_and_say_nothing_of_this_machine(runs, tmp_path):
    keep(runs, tmp_path / "kept")
    configs = list((tmp_path / "kept").rglob("config.yaml"))
    assert len(configs) == 6
    assert {yaml.safe_load(path.read_text())["log_dir"] for path in configs} == {"runs"}
    assert not [p for p in (tmp_path / "kept").rglob("*") if p.is_file() and is_in(p, tmp_path)]


def is_in(path: Path, text: Path) -> bool:
    content = path.read_bytes()
    return str(text).encode() in (gzip.decompress(content) if path.suffix == ".gz" else content)


def test_keeping_a_run_again_changes_nothing(runs, tmp_path):
    keep(runs, tmp_path / "kept")
    before = {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.*")}
    keep(runs, tmp_path / "kept")
    assert {path: path.read_bytes() for path in (tmp_path / "kept").rglob("*.*")} == before


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"step\n" * 500)[:-20]])
def test_a_damaged_archive_is_named(content, runs, tmp_path):
    keep(runs, tmp_path / "kept")
    folder = tmp_path / "kept" / "a2c" / "MsPacman" / "nature" / "seed-0"
    (folder / "episodes.csv.gz").write_bytes(content)
    with pytest.raises(BrokenRun, match=r"episodes\.csv (cannot be read|has no column)"):
        read_run(folder)


def test_the_page_has_each_set_of_runs_and_published_scores(runs, docs, tmp_path):
    assert main(runs, "--name", "short", "--docs", docs) == 0
    text = (docs / "results" / "README.md").read_text()
    assert "## short: A2C in MsPacman, classic protocol" in text
    assert "How they were made." in text
    assert "![Learning curves in MsPacman](short/curves.png)" in text
    assert (docs / "results" / "short" / "curves.png").exists()
    (ours,) = [line for line in text.splitlines() if line.startswith("| ours, coordconv")]
    assert "| 60k |" in ours
    assert "3 seeds, mean of the last 100 training games" in ours
    assert "| PPO paper (Schulman et al. 2017), final scores | 10M | 1,627 | classic |" in text
    assert str(tmp_path) not in text

    shutil.rmtree(runs)  # the page needs no more than what is kept
    assert main("--docs", docs) == 0
    assert (docs / "results" / "README.md").read_text() == text


@pytest.mark.parametrize("inner", ["a2c", "a2c/MsPacman", "a2c/MsPacman/nature/seed-1"])
def test_a_run_has_its_place_whichever_folder_is_named(inner, runs, tmp_path):
    keep(runs, tmp_path / "kept")
    before = sorted((tmp_path / "kept").rglob("*"))
    keep(runs / inner, tmp_path / "kept")
    assert sorted((tmp_path / "kept").rglob("*")) == before


def test_what_can_not_be_read_is_not_left_out_in_silence(runs, docs, capsys):
    assert main(runs, "--name", "short", "--docs", docs) == 0
    page = (docs / "results" / "README.md").read_text()
    games = (
        docs / "results" / "short" / "a2c" / "MsPacman" / "nature" / "seed-0" / "episodes.csv.gz"
    )
    games.write_bytes(games.read_bytes()[:-20])
    with pytest.raises(SystemExit) as exit_:
        main("--docs", docs)
    assert exit_.value.code == 2
    assert f"{games.parent}, which is kept there, cannot be used: " in capsys.readouterr().err
    assert (docs / "results" / "README.md").read_text() == page


@pytest.mark.parametrize("content", [None, "", "a: ["])
def test_a_run_with_damaged_settings_is_one_sentence(content, runs, tmp_path):
    config = runs / "a2c" / "MsPacman" / "nature" / "seed-0" / "config.yaml"
    config.unlink() if content is None else config.write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml"):
        keep(runs, tmp_path / "kept")


def test_a_name_is_that_of_one_folder(runs, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(runs, "--name", "a/b", "--docs", tmp_path)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "--name is that of one folder, not a/b.\n"


def test_runs_without_a_name_are_a_mistake(runs, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(runs)
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "Runs and --name go together.\n"
