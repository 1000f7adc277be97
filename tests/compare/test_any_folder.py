"""Runs whose logs are split, copied, renamed or damaged have the same report."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from fake_sb3 import START, games_of, points_of, row_of, write_events, write_monitor
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.sentences import verdict

SEEDS = 3
VARIANTS = {"deep": 500.0, "wide": 700.0}
N_GAMES = 150


def trainings():
    """Yield name, games and start time of each run; runs do not overlap in time."""
    for place, (variant, mean) in enumerate(VARIANTS.items()):
        for seed in range(SEEDS):
            number = place * SEEDS + seed
            yield f"{variant}_seed{seed}", games_of(number, N_GAMES, mean), START + 5e4 * number


TRAININGS = list(trainings())


class Monitors:
    """Runs with monitors."""

    def write(self, root):
        for name, games, start in trainings():
            write_monitor(root / name, games, start=start)

    def copy(self, root, draw):
        """Copy a log, or the first or last part of it, under another name."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        a, b = sorted(draw(st.tuples(st.integers(0, N_GAMES), st.integers(0, N_GAMES))))
        if b - a < 10:
            a, b = 0, N_GAMES
        folder = draw(st.sampled_from([f"{name}_best", "backup/1", f"synced/{name}", name]))
        file = draw(st.sampled_from(["1.monitor.csv", "monitor.csv", "best.monitor.csv"]))
        write_monitor(root / folder, games[a:b], start=start, name=file)

    def split(self, root, draw):
        """Append the last games as another session, whose times start at 0."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        place = draw(st.integers(1, N_GAMES - 1))
        path = write_monitor(root / name, games[:place], start=start)
        rest = games[place:] - [0, games[place - 1, 1], 0]
        rest[:, 1] = rest[:, 1].round(6)
        if rest[0, 1] < games[place - 1, 1]:
            with path.open("a") as file:
                file.writelines(f"{row_of(game)}\n" for game in rest)
        else:
            write_monitor(root / name, games, start=start)

    def damage(self, root, draw):
        """Add an incomplete row, or bytes as left by a power cut."""
        name, *_ = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        # Begin with a line break, as two incomplete rows in one line, "12.0,312.0,3", are a game.
        kinds = [b"\0" * 99, b"\n12.0,3", b"\r\n", b"x,y,z\n", b"\xff\n"]
        with (root / name / "0.monitor.csv").open("ab") as file:
            file.write(draw(st.sampled_from(kinds)))


class Events:
    """Runs with TensorBoard events."""

    def write(self, root):
        for name, games, start in trainings():
            write_events(root / name / "A2C_1", points_of(games, start=start))

    def copy(self, root, draw):
        """Copy all or some events into another folder or into the same one."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        points = points_of(games, start=start)
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(points))] * 2)))
        if b - a < 3:
            a, b = 0, len(points)
        folder = draw(st.sampled_from([f"{name}_best", "backup/A2C_1", f"{name}/A2C_1"]))
        write_events(root / folder, points[a:b], number=draw(st.integers(1, 9)))

    def split(self, root, draw):
        """Write a separate folder or file for each call of ``learn()``."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        points = points_of(games, start=start)
        shutil.rmtree(root / name, ignore_errors=True)
        beside = draw(st.booleans())
        for number, part in enumerate(np.array_split(points, draw(st.integers(1, 4)))):
            folder = "A2C_1" if beside else f"A2C_{number + 1}"
            write_events(root / name / folder, part, number=number)

    def interleave(self, root, draw):
        """Write every other point to another file."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        points = points_of(games, start=start)
        shutil.rmtree(root / name, ignore_errors=True)
        for number in 0, 1:
            write_events(root / name / "A2C_1", points[number::2], number=number)

    def damage(self, root, draw):
        """Write an incomplete record, or a later copy of the last point."""
        name, games, start = TRAININGS[draw(st.integers(0, 2 * SEEDS - 1))]
        points = points_of(games, start=start)
        if draw(st.booleans()):
            write_events(root / name / "A2C_1", points[-1:] + np.array([0, 1, 0]), number=50)
            return
        for path in (root / name).rglob("events*"):
            with path.open("ab") as file:
                file.write(b"\x20\0\0\0\0\0\0\0torn")


LOGS = pytest.mark.parametrize("logs", [Monitors(), Events()], ids=["monitors", "events"])


@LOGS
def test_changed_logs_give_the_same_report(logs):
    check_report(logs, examples=60)


@LOGS
@pytest.mark.slow
def test_changed_logs_give_the_same_report_in_600_examples(logs):
    check_report(logs, examples=600)


def check_report(logs, examples):
    kinds = [k for k in ("copy", "split", "interleave", "damage") if hasattr(logs, k)]
    with TemporaryDirectory() as folder:
        root = Path(folder, "logs")
        logs.write(root)
        (original,) = compare(find_runs([root]).runs)
        (expected,) = original.pairs

    @settings(max_examples=examples, deadline=None, phases=set(Phase) - {Phase.explain})
    @given(st.lists(st.sampled_from(kinds), min_size=1, max_size=4), st.data())
    def check(changes, data):
        with TemporaryDirectory() as folder:
            root = Path(folder, "logs")
            logs.write(root)
            for change in changes:
                getattr(logs, change)(root, data.draw)
            (comparison,) = compare(find_runs([root]).runs)
            by_name = {variant.name: variant for variant in comparison.variants}
            assert set(by_name) == set(VARIANTS)
            (pair,) = comparison.pairs
            assert [len(v.runs) for v in comparison.variants] == [SEEDS, SEEDS]
            for variant, other in zip(comparison.variants, original.variants, strict=True):
                ours, theirs = (
                    [r.final_score(r.last_step) for r in v.runs] for v in (variant, other)
                )
                assert sorted(ours) == pytest.approx(sorted(theirs), rel=1e-4)
            assert verdict(pair) == verdict(expected)

    check()
