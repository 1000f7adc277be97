"""Damaged logs are read as far as possible, reported, and never cause a traceback."""

import json
from contextlib import suppress

import numpy as np
import pytest
from fake_runs import write_run
from fake_sb3 import games_of, points_of, row_of, write_events, write_monitor, write_zoo

from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.results import read_columns
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.stored import store_runs

GAMES = games_of(0)
HEAD = '#{"t_start": 1700000000.0, "env_id": "Pong-v4"}'
ROWS = [row_of(game) for game in GAMES]


def read_monitor(tmp_path, content):
    folder = tmp_path / "a2c"
    folder.mkdir()
    content = content if isinstance(content, bytes) else content.encode()
    (folder / "monitor.csv").write_bytes(content)
    (run,) = find_runs([tmp_path]).runs
    return run


@pytest.mark.parametrize(
    "head",
    [
        '#{"t_start": null}',
        '#{"t_start": "yesterday"}',
        '#{"t_start": NaN}',
        '#{"t_start": 1e999}',
        '#{"env_id": 3}',
        "#[1, 2]",
        '#"text"',
        "#3",
        "#",
        "#{broken",
        "#" + "[" * 100_000,
        "",
    ],
)
def test_all_games_are_read_if_the_first_line_of_a_monitor_is_damaged(tmp_path, head):
    run = read_monitor(tmp_path, "\n".join([*filter(None, [head]), "r,l,t", *ROWS, ""]))
    assert run.returns.tolist() == GAMES[:, 2].tolist()
    assert ("the first line of monitor.csv is damaged" in run.notes) == bool(head)


@pytest.mark.parametrize(
    ("content", "n_games"),
    [
        ("\n".join([HEAD, "r,l,t", *ROWS[:30], HEAD, "r,l,t", *ROWS[30:], ""]), 60),
        ("\ufeff" + "\n".join([HEAD, "r,l,t", *ROWS, ""]), 60),
        ("\r\n".join([HEAD, "r,l,t", *ROWS, ""]), 60),
        ("\r\n".join([HEAD, "r,l,t", *ROWS[:9]]) + "\n" + "\n".join([*ROWS[9:], ""]), 60),
        ("\n".join([HEAD, "r,l,t", *ROWS, "\0" * 500]), 60),
        ("\n".join([HEAD, "r,l,t", *ROWS, "-20.0,12"]), 60),
        ("\n".join([HEAD, "r,l,t", *ROWS, "-20.0,12" + "\0" * 500]), 60),
        ("\n".join([HEAD, "r,l,t", *ROWS[:10], "", "", *ROWS[10:], ""]), 60),
        ("\n".join([HEAD, "r,l,t", *ROWS[:10], "1,2", "x,y,z", *ROWS[10:], ""]), 60),
        ("\n".join([HEAD, '"r","l","t"', *ROWS, ""]), 60),
        ("\n".join([HEAD, "r,l,t,note", *(f'{row},"a, b"' for row in ROWS), ""]), 60),
    ],
)
def test_intact_rows_of_a_damaged_monitor_are_read(tmp_path, content, n_games):
    run = read_monitor(tmp_path, content)
    assert run.returns.tolist() == GAMES[:n_games, 2].tolist()


def test_an_invalid_byte_damages_only_its_row_of_a_monitor(tmp_path):
    rows = "\n".join([HEAD, "r,l,t", *ROWS, ""]).encode()
    place = rows.index(ROWS[20].encode())
    run = read_monitor(tmp_path, rows[:place] + b"\xff" + rows[place:])
    assert len(run.returns) == 59
    assert "1 of 60 rows of monitor.csv are damaged and left out" in run.notes


def test_an_invalid_byte_damages_only_its_row_of_episodes_csv(tmp_path):
    folder = write_run(tmp_path, games=50)
    content = (folder / "episodes.csv").read_bytes()
    place = content.index(b"\n", len(content) // 2) + 1
    (folder / "episodes.csv").write_bytes(content[:place] + b"\xfe" + content[place:])
    (run,) = find_runs([tmp_path]).runs
    assert len(run.returns) == 49
    assert run.notes == ("1 of 50 rows of episodes.csv are damaged and left out",)


def test_a_damaged_file_next_to_an_intact_one_is_reported(tmp_path):
    write_monitor(tmp_path / "a2c", GAMES)
    (tmp_path / "a2c" / "evaluations.npz").write_bytes(b"PK no more")
    (run,) = find_runs([tmp_path]).runs
    assert len(run.returns) == 60
    assert "evaluations.npz is damaged and left out" in run.notes


@pytest.mark.parametrize("place", range(-47, 0))
def test_an_event_with_a_changed_byte_is_skipped(tmp_path, place):
    points = points_of(GAMES)
    path = write_events(tmp_path / "A2C_1", points)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    (run,) = find_runs([tmp_path]).runs
    assert run.returns.tolist() == pytest.approx(points[:-1, 2].tolist())


def test_read_columns_by_hand():
    text = "b,a\n1,2\nnan,3\n4,5\nb,a\n6,x\n7,8\n9"
    rows, notes = read_columns(text, "x.csv", ("a", "b"))
    assert rows.tolist() == [[2, 1], [5, 4], [8, 7]]
    assert notes == (
        "1 of 5 rows of x.csv are damaged and left out",
        "1 of 4 rows of x.csv contain NaN or infinity and are left out",
    )


def _damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace, cut off, repeat, remove or insert some bytes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        a, b = sorted(rng.integers(0, len(data) + 1, 2))
        kind = rng.integers(6)
        if kind == 0 and data:
            data[rng.integers(len(data))] = rng.integers(256)
        elif kind == 1:
            del data[a:]
        elif kind == 2:
            data[a:a] = data[a : min(b, a + 200)]
        elif kind == 3:
            del data[a : min(b, a + 50)]
        elif kind == 4:
            data[a:a] = rng.bytes(rng.integers(1, 30))
        else:
            words = [b"nan", b"-", b"1e999", b"\0", b"\n", b'"', b",", b"[", b"{", b"!!python/x"]
            data[a:a] = words[rng.integers(len(words))] * rng.integers(1, 9)
    return bytes(data)


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A folder per kind of file, and the file in it to damage."""
    root = tmp_path_factory.mktemp("logs")
    files = {}
    files["monitor"] = write_monitor(root / "monitor" / "a2c", games_of(0, 12))
    files["events"] = write_events(root / "events" / "a2c", points_of(games_of(0, 12)))
    files["evaluations"] = root / "evaluations" / "a2c" / "evaluations.npz"
    files["evaluations"].parent.mkdir(parents=True)
    np.savez(files["evaluations"], timesteps=[1, 2], results=[[1.0, 2], [3, 4]])
    for kind in "args.yml", "config.yml":
        folder = root / kind / "a2c" / "x_1"
        write_monitor(folder, games_of(0, 3))
        write_zoo(folder, {"learning_rate": 0.1, "policy": "CnnPolicy"}, seed=1)
        files[kind] = folder / "MsPacmanNoFrameskip-v4" / kind
    for kind in "config.yaml", "episodes.csv", "evaluations.csv", "versions.json":
        folder = write_run(root / kind, games=12)
        (folder / "versions.json").write_text(json.dumps({"torch": "2.8"}))
        files[kind] = folder / kind
    for kind in "runs.json.gz", "episodes.csv.gz", "evaluations.csv.gz":
        write_run(root / "runs" / kind, games=12)
        store_runs(root / "runs" / kind, root / kind, ("episodes", "evaluations"))
        files[kind] = root / kind / kind
    return root, files


KINDS = (
    *("monitor", "events", "evaluations", "args.yml", "config.yml", "config.yaml"),
    *("episodes.csv", "evaluations.csv", "versions.json"),
    *("runs.json.gz", "episodes.csv.gz", "evaluations.csv.gz"),
)


def _fuzz(logs, kind, times):
    root, files = logs
    path = files[kind]
    content = path.read_bytes()
    rng = np.random.default_rng(list(kind.encode()))
    try:
        for _ in range(times):
            path.write_bytes(_damaged(content, rng))
            with suppress(UserError):
                find_runs([root / kind])
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_never_cause_a_traceback(logs, kind):
    _fuzz(logs, kind, times=40)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_files_damaged_in_5000_ways_never_cause_a_traceback(logs, kind):
    _fuzz(logs, kind, times=5000)
