"""The page about the results stored in ``docs/results``."""

import shutil
from pathlib import Path

import pytest
from fake_runs import write_run

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.sentences import verdicts
from rl_coordconv.compare.tables import pairs_table, variants_table
from rl_coordconv.runs.stored import store_runs
from scripts import run_script

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "report_results.py"
RESULTS = ROOT / "docs" / "results"


def main(*arguments: object) -> int:
    return run_script("report_results", *arguments)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three seeds of two variants, and one that is not finished."""
    for variant in ("nature", "coordconv"):
        for seed in range(3):
            write_run(tmp_path / "runs", variant, seed)
    write_run(tmp_path / "runs", "coordconv", 3, done=False)
    return tmp_path / "runs"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder in the docs, without any runs."""
    folder = tmp_path / "docs" / "results" / "short"
    folder.mkdir(parents=True)
    (folder / "about.md").write_text("How they were made.\n")
    return folder


def test_the_page_has_all_studies_and_published_scores(runs, study, tmp_path):
    page, docs = study.parent / "README.md", tmp_path / "docs"
    (study.parent / "toy").mkdir()
    (study.parent / "toy" / "README.md").write_text("# Toy tasks\n\nText.\n")
    assert main(runs, "--name", "short", "--docs", docs) == 0
    text = page.read_text()
    assert "- [Toy tasks](toy/README.md)" in text
    assert "## short: A2C in MsPacman, classic protocol" in text
    assert "How they were made." in text
    assert "![Learning curves in MsPacman](short/curves.png)" in text
    assert {path.name for path in study.iterdir()} == {
        "about.md",
        "curves.png",
        "differences.png",
        "episodes.csv.gz",
        "evaluations.csv.gz",
        "runs.json.gz",
    }
    (ours,) = [line for line in text.splitlines() if line.startswith("| ours, coordconv")]
    assert "| 60k |" in ours
    assert "3 seeds, mean of the last 100 training games" in ours
    assert "| PPO paper (Schulman et al. 2017), final scores | 10M | 1,627 | classic |" in text
    assert str(tmp_path) not in text

    shutil.rmtree(runs)  # the page needs only the stored results
    assert main("--docs", docs) == 0
    assert page.read_text() == text


@pytest.mark.parametrize("study", sorted(path.parent.name for path in RESULTS.glob("*/about.md")))
def test_the_page_in_the_docs_is_up_to_date(study):
    text = (RESULTS / "README.md").read_text()
    for comparison in compare(find_runs([RESULTS / study]).runs):
        assert all(f"**{sentence}**" in text for sentence in verdicts(comparison))
        tables = variants_table(comparison, comparison.score_to_reach), pairs_table(comparison)
        for row in (row for table in tables for row in table.rows):
            assert f"| {' | '.join(row)} |" in text


def test_an_unreadable_stored_run_is_an_error(runs, study, tmp_path, capsys):
    docs, page = tmp_path / "docs", study.parent / "README.md"
    assert main(runs, "--name", "short", "--docs", docs) == 0
    before = page.read_text()

    episodes = runs / "a2c" / "MsPacman" / "nature" / "seed-0" / "episodes.csv"
    whole = episodes.read_text()
    episodes.write_text("step,wall_time\n1,2\n")
    store_runs(runs, study, ("episodes", "evaluations"))
    with pytest.raises(SystemExit, match="2"):
        main("--docs", docs)
    unusable = study / episodes.parent.relative_to(runs)
    assert f"The stored run {unusable} cannot be used: " in capsys.readouterr().err

    episodes.write_text(whole)
    store_runs(runs, study, ("episodes", "evaluations"))
    games = study / "episodes.csv.gz"
    games.write_bytes(games.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="2"):
        main("--docs", docs)
    assert capsys.readouterr().err == f"{games} is damaged.\n"
    assert page.read_text() == before


def test_the_name_must_be_that_of_one_folder(runs, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(runs, "--name", "a/b", "--docs", tmp_path)
    assert capsys.readouterr().err == "--name must be the name of one folder, not a/b.\n"


def test_runs_need_a_name(runs, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(runs)
    assert capsys.readouterr().err == "Give both runs and --name, or neither.\n"


def test_a_study_needs_a_description(runs, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(runs, "--name", "new", "--docs", tmp_path)
    about = tmp_path / "results" / "new" / "about.md"
    assert capsys.readouterr().err == f"First describe in {about} how the runs were made.\n"
