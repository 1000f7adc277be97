"""Test the helpers for browser tests: every kind of fault in a page is reported."""

from pathlib import Path

import pytest
from browser import PHONE

pytestmark = pytest.mark.browser

GOOD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Good</title>
<meta name="viewport" content="width=device-width">
<style>@media (prefers-color-scheme: dark) { body { background: rgb(1, 2, 3) } }</style>
<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">
"""


@pytest.fixture
def write(tmp_path):
    def write(html: str) -> Path:
        path = tmp_path / "page.html"
        path.write_text(html)
        return path

    return write


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, PHONE])
def test_a_good_page_has_no_errors_requests_or_overflow(open_page, write, width, dark):
    opened = open_page(write(GOOD), width=width, dark=dark)
    assert (opened.errors, opened.requests, opened.overflow) == ([], [], 0)
    assert opened.page.evaluate("innerWidth") == width
    background = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(1, 2, 3)" if dark else "rgba(0, 0, 0, 0)")


def test_errors_are_reported(open_page, write):
    errors = {
        "console.error('no', 3, {})": "no 3 {}",
        "console.assert(false, 'not so')": "not so",
        "nowhere()": "nowhere is not defined",
        "setTimeout(() => { throw new Error('late') }, 100)": "late",
        "Promise.reject(new Error('promised'))": "promised",
        "if (": "Unexpected end of input",
    }
    opened = open_page(write(GOOD + "".join(f"<script>{script}</script>" for script in errors)))
    assert sorted(opened.errors) == sorted(errors.values())


def test_warnings_and_caught_errors_are_not_reported(open_page, write):
    script = "console.warn('well'); try { nowhere() } catch { console.log('caught') }"
    assert open_page(write(f"{GOOD}<script>{script}</script>")).errors == []


def test_requests_are_reported(open_page, write):
    site = "https://example.invalid"
    html = [
        "<img src={}>",
        "<link rel=stylesheet href={}>",
        "<script src={}></script>",
        "<iframe src={}></iframe>",
        "<style>@import '{}';</style>",
        "<style>@font-face {{ font-family: f; src: url({}) }} p {{ font-family: f }}</style><p>f",
        "<script>fetch('{}').catch(() => 0)</script>",
        "<script>setTimeout(() => new Image().src = '{}', 100)</script>",
    ]
    addresses = [f"{site}/{number}" for number in range(len(html))]
    opened = open_page(write(GOOD + "".join(map(str.format, html, addresses))))
    assert sorted(opened.requests) == addresses
    assert {error.rsplit(": ")[-1] for error in opened.errors} == {"net::ERR_NAME_NOT_RESOLVED"}


def test_a_web_socket_counts_as_a_request(open_page, write):
    html = f"{GOOD}<script>new WebSocket('wss://example.invalid/')</script>"
    assert open_page(write(html)).requests == ["wss://example.invalid/"]


def test_loading_a_local_file_counts_as_a_request(open_page, write, tmp_path):
    (tmp_path / "style.css").write_text("")
    opened = open_page(write(f"{GOOD}<link rel=stylesheet href=style.css>"))
    assert opened.requests == [(tmp_path / "style.css").as_uri()]
    assert opened.errors == []


@pytest.mark.parametrize("width", [1200, PHONE])
def test_overflow_is_measured(open_page, write, width):
    opened = open_page(
        write(f"{GOOD}<style>body {{ margin: 0 }}</style><p style=width:1300px>wide"), width
    )
    assert opened.overflow == 1300 - width


def test_a_scrollable_element_does_not_overflow(open_page, write):
    html = f"{GOOD}<div style=overflow-x:auto><p style=width:1300px>wide</div>"
    assert open_page(write(html), PHONE).overflow == 0


def test_a_page_without_a_viewport_tag_overflows_a_phone(open_page, write):
    assert open_page(write("<!doctype html><p>Hello"), PHONE).overflow == 980 - PHONE
