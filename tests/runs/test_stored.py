import gzip
import json
from pathlib import Path

import pytest
import yaml
from fake_runs import write_run

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.stored import (
    is_stored_study,
    read_stored_run,
    read_stored_study,
    store_runs,
    stored_runs,
)

GAMES = ("episodes", "evaluations")
DAMAGED = {
    "empty": b"",
    "no archive": b"no archive",
    "torn": gzip.compress(b"step\n" * 500)[:-20],
    "no text": gzip.compress(b"\xff,\n"),
}
NAMES = [f"a2c/MsPacman/{variant}/seed-{n}" for variant in ("coordconv", "nature") for n in (0, 1)]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of two variants, and one that is not finished."""
    for variant in ("nature", "coordconv"):
        for seed in range(2):
            folder = write_run(tmp_path / "runs", variant, seed, games=20)
            (folder / "versions.json").write_text('{"torch": "2.8", "git_commit": null}')
    write_run(tmp_path / "runs", "coordconv", 2, games=20, done=False)
    return tmp_path / "runs"


def write_toy_run(folder: Path, measure: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("task: rendering\nseed: 0\n")
    (folder / "progress.csv").write_text(f"step,seconds,test/{measure}\n0,0.5,0.25\n1,,0.75\n")
    (folder / "DONE").touch()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_kept_run_equals_its_run_folder(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    stored = read_stored_study(tmp_path / "stored")
    assert [run.name for run in stored] == NAMES
    for run in stored:
        before = read_stored_run(runs / run.name)
        assert (run.name, run.folder) == (before.name, tmp_path / "stored" / run.name)
        assert (run.tables, run.versions) == (before.tables, before.versions)
        assert run.settings == {**before.settings, "log_dir": "runs"}
        assert list(run.settings) == list(before.settings)


def test_a_study_is_a_few_files_that_do_not_mention_this_machine(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    files = contents(tmp_path / "stored")
    assert files.keys() == {"runs.json.gz", "episodes.csv.gz", "evaluations.csv.gz"}
    assert not any(str(tmp_path).encode() in gzip.decompress(content) for content in files.values())


def test_storing_runs_again_or_one_by_one_gives_the_same_bytes(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    before = contents(tmp_path / "stored")
    store_runs(runs, tmp_path / "stored", GAMES)
    assert contents(tmp_path / "stored") == before
    for name in reversed(NAMES):
        store_runs(runs / name, tmp_path / "one by one", GAMES)
    assert contents(tmp_path / "one by one") == before


@pytest.mark.parametrize("inner", ["a2c", "a2c/MsPacman", "a2c/MsPacman/nature/seed-1"])
def test_a_run_has_the_same_name_whichever_folder_is_given(inner, runs, tmp_path):
    store_runs(runs / inner, tmp_path / "stored", GAMES)
    assert {run.name for run in read_stored_study(tmp_path / "stored")} <= set(NAMES)


def test_a_run_of_the_same_name_is_replaced(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    (runs / NAMES[1] / "episodes.csv").write_text("step,episode_return\n1,2\n")
    store_runs(runs / NAMES[1], tmp_path / "stored", GAMES)
    first, second, *_ = read_stored_study(tmp_path / "stored")
    assert first.tables == read_stored_run(runs / NAMES[0]).tables
    assert second.rows("episodes") == [{"step": "1", "episode_return": "2"}]


def test_a_run_has_only_its_own_columns(tmp_path):
    for number, measure in enumerate(["iou", "accuracy"]):
        write_toy_run(tmp_path / "runs" / "toy" / measure / "conv" / f"seed-{number}", measure)
    store_runs(tmp_path / "runs", tmp_path / "stored", ["progress"])
    text = gzip.decompress((tmp_path / "stored" / "progress.csv.gz").read_bytes()).decode()
    assert text.splitlines()[:3] == [
        "run,step,seconds,test/accuracy,test/iou",
        "toy/accuracy/conv/seed-1,0,0.5,0.25,",
        "toy/accuracy/conv/seed-1,1,,0.75,",
    ]
    for run in read_stored_study(tmp_path / "stored"):
        assert run.tables == read_stored_run(tmp_path / "runs" / run.name).tables


def test_only_wanted_runs_with_the_first_log_are_kept(runs, tmp_path):
    write_toy_run(runs / "toy" / "rendering" / "conv" / "seed-0", "iou")
    (runs / NAMES[0] / "progress.csv").write_text("step\n1\n")
    store_runs(runs, tmp_path / "games", GAMES)
    assert [run.name for run in read_stored_study(tmp_path / "games")] == NAMES

    def is_toy(settings):
        return settings["experiment"] == "toy"

    store_runs(runs, tmp_path / "toy", ["progress"], wanted=is_toy)
    assert [run.name for run in read_stored_study(tmp_path / "toy")] == [
        "toy/rendering/conv/seed-0"
    ]
    with pytest.raises(UserError, match="There is no finished run in"):
        store_runs(runs / "a2c", tmp_path / "none", ["progress"], wanted=is_toy)
    assert not (tmp_path / "none").exists()


def test_kept_studies_and_run_folders_are_read_alike(runs, tmp_path):
    store_runs(runs / "a2c" / "MsPacman" / "nature", runs / "study", GAMES)
    found = stored_runs(runs)
    assert is_stored_study(runs / "study")
    assert not is_stored_study(runs)
    assert [run.name for run in found] == [*NAMES[:2], "a2c/MsPacman/coordconv/seed-2"] + 2 * (
        NAMES[2:]
    )
    assert [run.tables for run in found[3:5]] == [run.tables for run in found[5:]]


def test_an_incomplete_last_row_is_ignored(runs):
    folder = runs / NAMES[0]
    complete = read_stored_run(folder).rows("episodes")
    with (folder / "episodes.csv").open("a") as file:
        file.write("7650,17000")
    assert read_stored_run(folder).rows("episodes") == complete
    assert read_stored_run(folder).rows("progress") == []


@pytest.mark.parametrize("name", ["runs.json.gz", "episodes.csv.gz", "evaluations.csv.gz"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_reported(name, content, runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    (tmp_path / "stored" / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"stored/{name} is damaged\.$"):
        read_stored_study(tmp_path / "stored")


def test_a_table_of_an_unknown_run_is_damaged(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    index = tmp_path / "stored" / "runs.json.gz"
    content = json.loads(gzip.decompress(index.read_bytes()))
    del content[NAMES[0]]
    index.write_bytes(gzip.compress(json.dumps(content).encode()))
    with pytest.raises(UserError, match="is damaged"):
        read_stored_study(tmp_path / "stored")


@pytest.mark.parametrize("content", [None, "", "a: ["])
def test_a_run_with_damaged_settings_is_a_one_sentence_error(content, runs, tmp_path):
    config = runs / NAMES[0] / "config.yaml"
    config.unlink() if content is None else config.write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml"):
        store_runs(runs, tmp_path / "stored", GAMES)


def test_a_damaged_log_is_a_one_sentence_error_and_changes_nothing(runs, tmp_path):
    store_runs(runs, tmp_path / "stored", GAMES)
    before = contents(tmp_path / "stored")
    (runs / NAMES[0] / "episodes.csv").write_text("step,episode_return\n1,2,3\n")
    with pytest.raises(UserError, match=r"episodes\.csv of the run in .*seed-0 is damaged\.$"):
        store_runs(runs, tmp_path / "stored", GAMES)
    assert contents(tmp_path / "stored") == before


@pytest.mark.parametrize(
    ("setting", "experiment"),
    [("clip_range: 0.1", "ppo"), ("rms_prop_eps: 1.0e-05", "a2c"), ("task: x", "toy"), ("", None)],
)
def test_a_run_of_an_older_version_is_identified_by_its_settings(setting, experiment, tmp_path):
    (tmp_path / "config.yaml").write_text(f"seed: 0\n{setting}\n")
    assert read_stored_run(tmp_path).settings["experiment"] == (experiment or "unknown")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"experiment": "dqn", "clip_range": 1}))
    assert read_stored_run(tmp_path).settings["experiment"] == "dqn"
