"""The report as a reader sees it: on a wide screen and on a phone, light and dark."""

import importlib.util
from pathlib import Path

import pytest
from browser import PHONE
from fake_runs import write_run

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two games, the longest name of a variant, and a run that is left out."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("report")
    for env in ("MsPacman", "MontezumaRevenge"):
        for extractor in ("nature", "impala-coordconv-all"):
            for seed in range(3):
                write_run(runs, extractor, seed, game=env)
    next(runs.rglob("seed-2")).joinpath("episodes.csv").unlink()
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec
    assert spec.loader
    compare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compare)
    assert compare.main([str(runs), "--out", str(out)]) == 0
    return out / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, PHONE])
def test_nothing_is_wrong(open_page, report, width, dark):
    opened = open_page(report, width=width, dark=dark)
    assert (opened.errors, opened.requests, opened.overflow) == ([], [], 0)
    text = opened.page.inner_text("body")
    assert "impala-coordconv-all" in text
    assert "seed-2" in text  # the one that is left out

    # The brightness of paper and ink, from 0 to 255.
    colours = "[s.backgroundColor, s.color].map(c => +c.match(/\\d+/)[0])"
    paper, ink = opened.page.evaluate(f"(s => {colours})(getComputedStyle(document.body))")
    assert paper - ink < -150 if dark else paper - ink > 150


def test_figures_are_drawn_and_do_not_take_each_others_parts(open_page, report):
    page = open_page(report).page
    sizes = page.evaluate(
        "[...document.querySelectorAll('figure svg')].map(f => f.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 4
    assert min(sizes) > 100
    names = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(names) == len(set(names))
