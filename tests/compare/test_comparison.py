import csv
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from fake_runs import write_run

from rl_coordconv.compare.comparison import compare
from rl_coordconv.compare.find import find_runs
from rl_coordconv.compare.games import VariantOverGames, over_games
from rl_coordconv.compare.plots import curves, house_style
from rl_coordconv.compare.published import HUMAN_AND_RANDOM, PUBLISHED, human_normalised
from rl_coordconv.compare.report import write_report
from rl_coordconv.compare.sentences import count, number, stopping_sentence, verdict, verdicts
from rl_coordconv.compare.tables import variants_table
from rl_coordconv.envs.atari import GAMES
from rl_coordconv.runs.results import styles
from scripts import run_script

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
BAND = 'data-label=""'  # in an SVG


def command(*arguments):
    return run_script("compare", *arguments)


def write_study(root, means, seeds=4, spread=60.0, **more):
    """Write runs of several variants, and return their comparisons."""
    rng = np.random.default_rng(7)
    for variant, mean in means.items():
        for seed in range(seeds):
            write_run(root, variant, seed, final=mean + spread * rng.standard_normal(), **more)
    return compare(find_runs([root]).runs)


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_known_difference_is_found(tmp_path):
    (comparison,) = write_study(tmp_path, {"nature": 1000, "coordconv": 1500})
    (pair,) = comparison.pairs
    gap = pair.difference("training")
    assert gap.low < 500 < gap.high
    assert gap.low > 0
    assert re.match(r"coordconv scores \d+ points \(\d+%\) higher than nature at", verdict(pair))
    assert pair.probability().value == 1


def test_a2c_and_apex_are_side_by_side_in_a_report(tmp_path):
    for algorithm in ("a2c", "apex"):
        write_study(tmp_path / "runs", {"nature": 1000, "coordconv": 1100}, algorithm=algorithm)
    assert command(tmp_path / "runs", "--out", tmp_path / "out") == 0
    rows = read(tmp_path / "out" / "variants.csv")
    assert {(row["algorithm"], row["variant"]) for row in rows} == {
        (algorithm, variant) for algorithm in ("a2c", "apex") for variant in ("nature", "coordconv")
    }


def test_the_difference_over_training_ends_at_the_final_difference(tmp_path):
    (comparison,) = write_study(tmp_path, {"nature": 1000, "coordconv": 1500})
    (pair,) = comparison.pairs
    *_, last = pair.over_training(np.linspace(0, pair.step, 7))
    assert last == pair.difference("training")


def test_the_report_says_how_the_difference_varied(tmp_path):
    """The variants start at the same score and end far apart."""
    (comparison,) = write_study(tmp_path, {"nature": 1000, "coordconv": 2000}, noise=0, spread=1)
    (pair,) = comparison.pairs
    middle, end = (gap.value for gap in pair.over_training(pair.step * np.array([0.5, 1])))
    assert stopping_sentence(pair) == (
        "Over the second half of training, the difference (coordconv - nature) ranged"
        f" from {middle:.0f} to {end:.0f} points; its interval was above zero at 100% of the steps"
        " and below zero at 0%."
    )


def test_a_difference_without_effect_is_not_significant(tmp_path):
    (comparison,) = write_study(tmp_path, {"nature": 1000, "coordconv": 1000})
    (pair,) = comparison.pairs
    assert not pair.difference("training").excludes_zero
    sentence = verdict(pair)
    assert sentence.startswith("The difference between coordconv and nature is not significant at")


@pytest.mark.parametrize("seeds", [4, 3])
def test_the_conclusion_states_adjustment_and_seeds(tmp_path, seeds):
    write_study(tmp_path, {"nature": 1000}, seeds=4)
    (comparison,) = write_study(tmp_path, {"coordconv": 1500}, seeds=seeds)
    each = "4 seeds each" if seeds == 4 else "3 seeds of coordconv, 4 of nature"
    ending = r"%\) higher than nature at 60k steps \(95% CI [\d,]+ to [\d,]+{}, " + each + r"\)\.$"
    assert re.search(ending.format(""), verdict(comparison.pairs[0]))
    adjusted = ending.format(", Bonferroni-adjusted for 3 comparisons")
    assert re.search(adjusted, verdict(replace(comparison.pairs[0], n_pairs=3)))


def test_one_variant_is_reported_as_nothing_to_compare(tmp_path):
    (comparison,) = write_study(tmp_path, {"nature": 1000})
    assert verdicts(comparison) == ["Only one variant (nature) was found; nothing to compare."]


def test_the_conclusion_names_the_better_variant_first(tmp_path):
    (comparison,) = write_study(tmp_path, {"nature": 1500, "coordconv": 1000})
    assert verdict(comparison.pairs[0]).startswith("nature scores")


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_have_no_conclusion_and_no_band(tmp_path, seeds):
    write_study(tmp_path / "runs", {"nature": 1000, "coordconv": 9000}, seeds=seeds)
    write_report([tmp_path / "runs"], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Too few seeds to compare coordconv with nature: at least 3 each are needed" in text
    assert f"there are {seeds} and {seeds} at 60k steps" in text
    assert BAND not in next((tmp_path / "out").glob("curves*.svg")).read_text()
    assert {row["low"] for row in read(tmp_path / "out" / "differences.csv")} == {"nan"}
    assert "Over the second half" not in text
    assert not list((tmp_path / "out").glob("differences*.svg"))


def test_variants_are_compared_at_the_step_that_both_reached(tmp_path):
    write_study(tmp_path, {"nature": 1000}, games=400)
    (comparison,) = write_study(tmp_path, {"coordconv": 1000}, games=300)
    assert [variant.step for variant in comparison.variants] == [60_000, 45_000]
    assert comparison.pairs[0].step == 45_000


def test_a_run_that_is_behind_is_left_out_and_reported(tmp_path):
    write_study(tmp_path, {"nature": 1000})
    behind = write_run(tmp_path, "nature", 9, games=50, done=False)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    (variant,) = comparison.variants
    assert variant.step == 60_000
    assert len(variant.at(variant.step)) == 4
    assert comparison.notes[0].startswith(f"{behind} is at step 7,500 and left out")


def test_new_seeds_do_not_lower_the_step_of_the_comparison(tmp_path):
    write_study(tmp_path, {"nature": 1000}, seeds=3)
    for seed in (7, 8, 9):
        write_run(tmp_path, "nature", seed, games=20, done=False)
    (variant,) = compare(find_runs([tmp_path]).runs)[0].variants
    assert variant.step == 60_000
    assert len(variant.at(variant.step)) == 3


@pytest.mark.parametrize("late", [1, 2])
def test_a_seed_that_never_reaches_a_score_counts_as_later_than_all_others(tmp_path, late):
    """Otherwise a worse variant would look faster."""
    for seed in range(3):
        write_run(tmp_path, seed=seed, final=400 if seed < late else 1000 + 200 * seed, noise=0)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    ((*_, reached),) = variants_table(comparison, target=800).rows
    slower = max(run.first_step(800) for run in comparison.variants[0].runs[late:])
    assert reached == {1: f"{count(slower)} (2 of 3)", 2: "- (1 of 3)"}[late]


def test_variants_that_differ_in_a_setting_are_named_by_it(tmp_path):
    for seed, rate in (0, 0.0007), (1, 0.0007), (0, 0.1), (1, 0.1):
        write_run(tmp_path / str(rate), "nature", seed, learning_rate=rate)
    for seed in 0, 1:
        write_run(tmp_path, "coordconv", seed, n_envs=8)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    names = ["coordconv", "nature, learning_rate=0.0007", "nature, learning_rate=0.1"]
    assert sorted(variant.name for variant in comparison.variants) == names
    assert [len(variant.runs) for variant in comparison.variants] == [2, 2, 2]
    note = "The variants differ in more than the network: learning_rate, n_envs."
    assert note in comparison.notes


@pytest.mark.parametrize(("schedule", "variants"), [("constant", 1), ("linear", 2)])
def test_total_timesteps_distinguish_variants_only_if_a_schedule_depends_on_them(
    tmp_path, schedule, variants
):
    for seed, steps in (0, 1000), (1, 2000):
        settings = {"total_timesteps": steps, "learning_rate_schedule": schedule}
        write_run(tmp_path, seed=seed, **settings)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    assert len(comparison.variants) == variants


def test_the_baseline_can_be_chosen(tmp_path, capsys):
    write_study(tmp_path, {"nature": 900, "coordconv": 1000, "nature-zeros": 1000}, seeds=3)
    runs = find_runs([tmp_path]).runs
    (comparison,) = compare(runs, "nature-zeros")
    names = ["nature - nature-zeros", "coordconv - nature-zeros"]
    assert [pair.name for pair in comparison.pairs] == names
    with pytest.raises(SystemExit, match="2"):
        command(tmp_path, "--against", "nature-zero")
    assert "no variant 'nature-zero'; did you mean nature-zeros?" in capsys.readouterr().err


@pytest.mark.parametrize("games", [2, 7, 19])
def test_few_games_allow_no_conclusion(tmp_path, games):
    (comparison,) = write_study(tmp_path, {"nature": 500, "coordconv": 5000}, games=games)
    (pair,) = comparison.pairs
    assert verdict(pair) == (
        "Too few games to compare coordconv with nature: at least 20 per seed are needed, there"
        f" are {games} and {games} at {count(pair.step)} steps"
        f" (means {number(pair.second.mean('training', pair.step).value)} and"
        f" {number(pair.first.mean('training', pair.step).value)})."
    )
    write_report([tmp_path], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    scores = next(line for line in text.splitlines() if line.startswith("| coordconv | 4 |"))
    assert re.search(r"\(-?[\d,.]+ to", scores.split("|")[4]) is None
    assert f"have {games} training games each" in text
    assert "Over the second half" not in text


def test_the_range_of_the_difference_starts_at_the_first_games(tmp_path):
    """All games end in the last 10% of the steps."""
    (comparison,) = write_study(tmp_path, {"nature": 500, "coordconv": 5000}, games=30)
    late = []
    for variant in comparison.variants:
        runs = [replace(run, steps=run.steps + 50_000) for run in variant.runs]
        late.append(replace(variant, runs=tuple(runs)))
    (pair,) = replace(comparison, variants=tuple(late)).pairs
    assert re.search(r"ranged from -?[\d,]+ to [\d,]+ points", stopping_sentence(pair))


def test_protocols_are_not_mixed(tmp_path):
    write_run(tmp_path, seed=0)
    write_run(tmp_path, seed=1, protocol="sticky")
    assert [c.protocol for c in compare(find_runs([tmp_path]).runs)] == ["classic", "sticky"]


def test_more_comparisons_widen_the_intervals(tmp_path):
    (two,) = write_study(tmp_path, {"nature": 1000, "coordconv": 1100})
    (three,) = write_study(tmp_path, {"nature-noise": 1000})
    narrow, wide = two.pairs[0].difference("training"), three.pairs[0].difference("training")
    assert len(three.pairs) == 3
    assert wide.value == narrow.value
    assert wide.low < narrow.low


def test_pairs_with_too_few_seeds_do_not_widen_the_intervals(tmp_path):
    (two,) = write_study(tmp_path, {"nature": 1000, "coordconv": 1100})
    (three,) = write_study(tmp_path, {"nature-noise": 1000}, seeds=2)
    assert len(three.pairs) == 3
    assert three.pairs[0].difference("training") == two.pairs[0].difference("training")
    assert not [sentence for sentence in verdicts(three) if "Bonferroni" in sentence]


class Page(HTMLParser):
    """The tags, ids and link addresses of a page, and addresses of resources that it loads."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.addresses, self.loaded = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                (self.addresses if tag in ("a", "use") else self.loaded).append(value)


def test_the_command_writes_a_self_contained_page(tmp_path, capsys):
    write_study(tmp_path / "runs", {"nature": 1000, "coordconv": 1500}, seeds=3)
    (tmp_path / "runs" / "a2c" / "MsPacman" / "nature" / "seed-2" / "config.yaml").write_text("}")
    out = tmp_path / "out"
    assert command(tmp_path / "runs" / "a2c" / "MsPacman", "--out", out) == 0
    title, *sentence, end = capsys.readouterr().out.strip().splitlines()
    assert title == "A2C in MsPacman, classic protocol"
    assert " ".join(sentence).startswith("- Too few seeds to compare coordconv with nature: ")
    assert end == f"Done: {out / 'report.html'}"
    text = (out / "report.html").read_text()
    page = Page(text)
    assert text.count(BAND) == 2  # coordconv's, in a wide and a narrow figure
    assert not {"link", "img", "iframe"} & page.tags
    assert page.loaded == []
    assert len(page.ids) == len(set(page.ids))
    sources = {published.address for published in PUBLISHED}
    files = {a for a in page.addresses if not a.startswith("#")} - sources
    runs = {f"../runs/a2c/MsPacman/{v}/seed-{s}/" for v in ("nature", "coordconv") for s in (0, 1)}
    runs.add("../runs/a2c/MsPacman/coordconv/seed-2/")
    assert files == {"runs.csv", "curves.csv", "variants.csv", "differences.csv"} | runs
    assert all((out / name).exists() for name in files)
    assert len(sources.intersection(page.addresses)) >= 3
    assert "@import" not in text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
    assert "seed-2: config.yaml is not valid YAML: see line 1." in text
    assert "1,627" in text  # a published score
    for ending in "png", "svg":
        assert {path.stem for path in out.glob(f"*.{ending}")} == {
            "curves-a2c-MsPacman-classic",
            "final-a2c-MsPacman-classic",
        }


def test_the_same_runs_give_the_same_report(tmp_path):
    write_study(tmp_path / "runs", {"nature": 1000, "coordconv": 1200}, seeds=3)
    pages = [
        write_report([tmp_path / "runs"], tmp_path / name).page.read_text()
        for name in ("one", "two")
    ]
    assert pages[0] == pages[1]


def test_the_report_says_when_and_how_it_was_made(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "my runs", games=50)
    (folder / "versions.json").write_text('{"torch": "2.9.1", "git_commit": null}')
    write_run(tmp_path / "my runs", seed=1, games=50)  # of unknown versions
    monkeypatch.chdir(tmp_path)
    assert command("my runs", "--out", "out") == 0
    text = (tmp_path / "out" / "report.md").read_text()
    day = time.strftime("%Y-%m-%d")
    (made,) = [line for line in text.splitlines() if line.startswith(f"Made on {day} at ")]
    words = f"python {os.path.relpath(SCRIPT)} 'my runs' --out out"  # right in that folder
    assert made.endswith(f" in {tmp_path} by: {words}")
    assert f"| numpy | {np.__version__} | - |" in text
    assert "| torch | - | 2.9.1 |" in text
    linked = re.search(rf"\[{folder.relative_to(tmp_path)}\]\(<(.*?)>\)", text)[1]
    assert (tmp_path / "out" / unquote(linked)).samefile(folder)
    assert made in unescape((tmp_path / "out" / "report.html").read_text())


@pytest.mark.parametrize("name", ["new/report", "docs"])
def test_git_ignores_only_the_reports_files(tmp_path, name):
    """Git status showed a report in a checkout."""
    write_run(tmp_path / "runs", games=50)
    checkout = tmp_path / "checkout"
    (checkout / "docs").mkdir(parents=True)
    (checkout / "docs" / "mine.csv").touch()
    subprocess.run(["git", "init", "-q", checkout], check=True)
    for _ in range(2):
        command(tmp_path / "runs", "--out", checkout / name)
        status = ["git", "-C", checkout, "status", "--porcelain", "--untracked-files=all"]
        shown = subprocess.run(status, check=True, capture_output=True, text=True).stdout
        assert shown == "?? docs/mine.csv\n"
    (checkout / name / ".gitignore").write_text("mine\n")
    command(tmp_path / "runs", "--out", checkout / name)
    assert (checkout / name / ".gitignore").read_text() == "mine\n"


def test_mistakes_are_reported_in_one_sentence(tmp_path, capsys):
    for arguments in ([tmp_path], [tmp_path / "missing"], [], [tmp_path, "--x", "years"]):
        with pytest.raises(SystemExit, match="2"):
            command(*arguments, "--out", tmp_path / "out")
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_file_instead_of_a_folder_is_reported(tmp_path, capsys):
    """The message said that there is no such folder, or was a traceback."""
    file = write_run(tmp_path, games=50) / "episodes.csv"
    before = file.read_bytes()
    sentences = {
        (file, "--out", tmp_path / "out"): f"{file} is a file; pass its folder instead: ",
        (tmp_path, "--out", file): f"{file} is a file; the report needs a folder.",
        (tmp_path, "--out", file / "out"): f"Could not write to {file / 'out'}: Not a directory. ",
    }
    for arguments, sentence in sentences.items():
        with pytest.raises(SystemExit, match="2"):
            command(*arguments)
        error = capsys.readouterr().err
        assert error.startswith(sentence)
        assert error.count("\n") == 1
    assert file.read_bytes() == before


def test_a_missing_package_is_reported_in_one_sentence():
    code = "import runpy, sys; sys.modules['rliable'] = None; sys.argv = ['compare.py', '.'];"
    code += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "pip install 'rl_coordconv[analysis]'" in result.stderr


@pytest.mark.parametrize("x", ["frames", "hours"])
def test_curves_over_frames_and_hours(tmp_path, x):
    write_run(tmp_path / "runs", games=120)
    write_report([tmp_path / "runs"], tmp_path / "out", x, target=400)
    rows = read(tmp_path / "out" / "curves.csv")
    end = {"frames": 4 * 120 * 150, "hours": 119 * 150 / 2000 / 3600}[x]
    assert float(rows[-1][x]) == pytest.approx(end, rel=0.01)
    assert read(tmp_path / "out" / "runs.csv")[0]["score"] == "400"


def test_several_games_are_summarised(tmp_path):
    runs, out = tmp_path / "runs", tmp_path / "out"
    for game in "MsPacman", "Qbert", "Seaquest":
        write_study(runs, {"nature": 1000, "coordconv": 3000}, seeds=3, game=game)
    write_run(runs, "nature-noise", game="Qbert")
    write_report([runs], out)
    text = (out / "report.md").read_text()
    start = r"coordconv scores 0\.\d+ higher than nature in mean human-normalised score "
    assert re.search(start + r"over 3 games \(95% CI 0\.\d+ to 0\.\d+, 3 seeds each\)\.", text)
    assert "nature-noise did not play all of these games" in text
    rows = {(row["variant"], row["measure"]): row for row in read(out / "over_games.csv")}
    assert {measure for _, measure in rows} == {"IQM", "median", "mean", "optimality gap"}
    assert float(rows["coordconv", "IQM"]["low"]) > float(rows["nature", "IQM"]["high"])
    assert (out / "profile-a2c-classic.svg").exists()
    page = Page((out / "report.html").read_text())
    inner = [address[1:] for address in page.addresses if address.startswith("#a2c-in-")]
    assert len(inner) == 3
    assert set(inner) < set(page.ids)


def test_published_scores_are_of_existing_games():
    assert set(HUMAN_AND_RANDOM) <= set(GAMES)
    assert {published.game for published in PUBLISHED} <= set(GAMES)
    assert len({(p.source, p.algorithm, p.game) for p in PUBLISHED}) == len(PUBLISHED)
    assert all(published.address.startswith("https://") for published in PUBLISHED)
    assert human_normalised("MsPacman", 307.3) == 0


def test_over_games_every_game_has_the_same_number_of_seeds():
    scores = {"Pong": np.array([1.0, 2.0, 3.0]), "Qbert": np.array([4.0, 5.0])}
    variant = VariantOverGames("nature", styles(["nature"])["nature"], scores)
    np.testing.assert_array_equal(variant.matrix, [[1, 4], [2, 5]])


def test_a_game_that_one_variant_has_not_played_is_left_out_and_reported(tmp_path):
    for game in "MsPacman", "Qbert":
        write_study(tmp_path, {"nature": 1000, "coordconv": 3000}, seeds=3, game=game)
    write_study(tmp_path, {"nature": 1000}, seeds=3, game="Pong")
    (summary,) = over_games(compare(find_runs([tmp_path]).runs))
    assert summary.games == ("MsPacman", "Qbert")
    assert [variant.name for variant in summary.variants] == ["nature", "coordconv"]
    assert summary.notes == ("Left out here, as not every variant played it: Pong.",)


def test_many_variants_have_distinct_styles_and_whole_names_in_the_legend(tmp_path):
    """Only four styles were used, and names were cut off at the edge."""
    rates = (0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001)
    for rate in rates:
        write_run(tmp_path / str(rate), learning_rate=rate, games=50)
    (comparison,) = compare(find_runs([tmp_path]).runs)
    assert len({variant.style for variant in comparison.variants}) == len(rates)
    with house_style():
        figure = curves(comparison, "steps")
        figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 < figure.bbox.x1
