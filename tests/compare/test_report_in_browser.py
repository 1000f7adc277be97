"""The report in a browser: wide and narrow windows, light and dark."""

import csv
from pathlib import Path

import pytest
from browser import PHONE
from fake_runs import write_run
from playwright.sync_api import Locator, Page

from scripts import run_script

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with two games, the longest name of a variant, and a run that is left out."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("report")
    for env in ("MsPacman", "MontezumaRevenge"):
        for extractor in ("nature", "impala-coordconv-all"):
            for seed in range(3):
                write_run(runs, extractor, seed, game=env)
    next(runs.rglob("seed-2")).joinpath("episodes.csv").unlink()
    assert run_script("compare", runs, "--out", out) == 0
    return out / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, PHONE])
def test_the_page_has_no_errors_requests_or_overflow(open_page, report, width, dark):
    opened = open_page(report, width=width, dark=dark)
    assert (opened.errors, opened.requests, opened.overflow) == ([], [], 0)
    text = opened.page.inner_text("body")
    assert "impala-coordconv-all" in text
    assert "seed-2" in text  # the one that is left out

    # The brightness of background and text, from 0 to 255.
    colours = "[s.backgroundColor, s.color].map(c => +c.match(/\\d+/)[0])"
    paper, ink = opened.page.evaluate(f"(s => {colours})(getComputedStyle(document.body))")
    assert paper - ink < -150 if dark else paper - ink > 150


@pytest.mark.parametrize("width", [1200, 800, PHONE])
def test_figures_fill_the_width_and_have_legible_text(open_page, report, width):
    """They were 640 pixels wide, and text was eight pixels high on a phone."""
    page = open_page(report, width=width).page
    boxes = "[...document.querySelectorAll('figure svg')].filter(f => f.checkVisibility())"
    boxes += ".map(f => f.getBoundingClientRect().toJSON())"
    figures = page.evaluate(boxes)
    assert len(figures) >= 4
    text = page.evaluate("document.querySelector('section').getBoundingClientRect().width")
    assert {figure["width"] for figure in figures} == {text}
    assert min(figure["height"] for figure in figures) > 100
    letters = page.evaluate(boxes.replace("svg')", "text')"))
    assert min(letter["height"] for letter in letters) > 12  # includes the space above letters
    assert all(0 < letter["left"] < letter["right"] < width for letter in letters)


def test_tables_fit_a_phone(open_page, report):
    """They were up to 900 pixels wide, and had to be scrolled to read a row."""
    page = open_page(report, width=PHONE).page
    table = page.locator(".wide").filter(has_text="Scores: mean over seeds").first
    rows = table.locator("tbody tr")
    with report.with_name("variants.csv").open() as file:
        assert rows.count() == len({row["variant"] for row in csv.DictReader(file)})
    cells = rows.first.locator("td")
    names = table.locator("th").evaluate_all("cells => cells.map(cell => cell.textContent)")
    shown = "cells => cells.map(c => getComputedStyle(c, '::before').content)"
    assert cells.evaluate_all(shown) == ["none", *(f'"{name}"' for name in names[1:])]
    tops = cells.evaluate_all("cells => cells.map(c => c.getBoundingClientRect().top)")
    assert tops == sorted(set(tops))  # one below the other
    widths = "[...document.querySelectorAll('.wide')].map(t => t.scrollWidth - t.clientWidth)"
    assert set(page.evaluate(widths)) == {0}


def test_figures_do_not_share_ids(open_page, report):
    page = open_page(report).page
    names = page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
    assert len(names) == len(set(names))


def learning_curves(page: Page, game: str) -> Locator:
    return page.locator("figure").filter(has=page.get_by_label(f"Learning curves in {game}"))


def point_at(figure: Locator, fraction: float) -> str:
    """Move the pointer over the curves and return the text of the tooltip."""
    plot = figure.locator("svg:visible")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    left, right, top = plot.evaluate(
        "s => (a => [a.x[0], a.x[1], a.y[1]].map(n => n / s.viewBox.baseVal.width))"
        "(JSON.parse(s.dataset.axes)[0])"
    )
    x = left + fraction * (right - left)
    figure.page.mouse.move(box["x"] + x * box["width"], box["y"] + top * box["width"] + 5)
    tip = figure.locator("output:visible")
    return tip.inner_text() if tip.count() else ""


@pytest.mark.parametrize("width", [1200, PHONE])
def test_curves_can_be_hovered(open_page, report, width):
    opened = open_page(report, width=width)
    figure = learning_curves(opened.page, "MsPacman")
    label, steps, score = point_at(figure, 0.5).splitlines()
    variant, seed = label.split(", seed ")
    step = float(steps.removeprefix("steps: ").replace(",", ""))
    with report.with_name("curves.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["game"] == "MsPacman"]
    points = [r for r in rows if (r["variant"], r["seed"]) == (variant, seed)]
    near = min(points, key=lambda r: abs(float(r["steps"]) - step))
    shown = float(score.removeprefix("score: ").replace(",", ""))
    assert shown == pytest.approx(float(near["score"]), rel=0.02)
    # It is the highest curve there.
    others = {(r["variant"], r["seed"]): r for r in rows if float(r["steps"]) <= step}
    assert shown >= max(float(r["score"]) for r in others.values()) * 0.98
    assert opened.overflow == 0

    opened.page.mouse.move(5, 5)
    assert not opened.page.locator("figure output:visible").count()


def test_variants_can_be_switched_off_and_on(open_page, report):
    opened = open_page(report)
    figure = learning_curves(opened.page, "MontezumaRevenge")
    visible = "f => [...f.querySelectorAll('svg.wide [data-series]')]"
    visible += ".filter(g => getComputedStyle(g).display !== 'none').map(g => +g.dataset.series)"
    before = figure.evaluate(visible)
    nature, other = figure.get_by_role("button", name="seeds").all()
    nature.click()
    assert nature.get_attribute("aria-pressed") == "false"
    assert figure.evaluate(visible) == [place for place in before if place != 0]
    texts = [point_at(figure, place / 10) for place in range(1, 10)]
    assert all(text.startswith("impala-coordconv-all") for text in texts)
    other.press("Enter")
    assert point_at(figure, 0.5) == ""
    nature.press("Space")
    other.click()
    assert figure.evaluate(visible) == before
    assert (opened.errors, opened.requests) == ([], [])
