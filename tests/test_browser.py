"""What other tests say of pages: each thing that a page can do wrong is seen."""

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
def test_nothing_is_wrong_with_a_good_page(open_page, write, width, dark):
    page = open_page(write(GOOD), width=width, dark=dark)
    assert (page.errors, page.requests, page.overflow) == ([], [], 0)
    assert page.evaluate("innerWidth") == width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(1, 2, 3)" if dark else "rgba(0, 0, 0, 0)")


def test_errors_are_seen(open_page, write):
    errors = {
        "console.error('no', 3, {})": "no 3 Object",
        "console.assert(false, 'not so')": "not so",
        "nowhere()": "ReferenceError: nowhere is not defined",
        "setTimeout(() => { throw new Error('late') }, 100)": "Error: late",
        "Promise.reject(new Error('promised'))": "Error: promised",
        "if (": "SyntaxError: Unexpected end of input",
    }
    page = open_page(write(GOOD + "".join(f"<script>{script}</script>" for script in errors)))
    assert sorted(error.splitlines()[0] for error in page.errors) == sorted(errors.values())


def test_what_is_no_error_is_not_seen(open_page, write):
    script = "console.warn('well'); try { nowhere() } catch { console.log('caught') }"
    assert open_page(write(f"{GOOD}<script>{script}</script>")).errors == []


def test_requests_are_seen(open_page, write):
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
    page = open_page(write(GOOD + "".join(map(str.format, html, addresses))))
    assert sorted(page.requests) == addresses
    assert {error.rsplit(": ")[-1] for error in page.errors} == {"net::ERR_NAME_NOT_RESOLVED"}


def test_a_socket_is_a_request(open_page, write):
    html = f"{GOOD}<script>new WebSocket('wss://example.invalid/')</script>"
    assert open_page(write(html)).requests == ["wss://example.invalid/"]


def test_a_file_beside_the_page_is_a_request(open_page, write, tmp_path):
    (tmp_path / "style.css").write_text("")
    page = open_page(write(f"{GOOD}<link rel=stylesheet href=style.css>"))
    assert page.requests == [(tmp_path / "style.css").as_uri()]
    assert page.errors == []


@pytest.mark.parametrize("width", [1200, PHONE])
def test_overflow_is_measured(open_page, write, width):
    page = open_page(
        write(f"{GOOD}<style>body {{ margin: 0 }}</style><p style=width:1300px>wide"), width
    )
    assert page.overflow == 1300 - width


def test_what_scrolls_inside_of_the_page_does_not_overflow(open_page, write):
    html = f"{GOOD}<div style=overflow-x:auto><p style=width:1300px>wide</div>"
    assert open_page(write(html), PHONE).overflow == 0


def test_a_page_that_does_not_think_of_phones_overflows_them(open_page, write):
    assert open_page(write("<!doctype html><p>Hello"), PHONE).overflow == 980 - PHONE


def test_text_of_web_components_is_read(open_page, write):
    html = """<p>light</p><div id=host>slotted</div><script>
    document.getElementById("host").attachShadow({mode: "open"}).innerHTML = "<b>dark</b><slot>"
    </script>"""
    assert open_page(write(GOOD + html)).read().split("\n") == ["light", "dark", "slotted"]


def test_text_is_waited_for(open_page, write):
    script = "setTimeout(() => document.body.append('here'), 1500)"
    page = open_page(write(f"{GOOD}<script>{script}</script>"))
    assert page.read() == ""
    assert page.read(lambda text: "here" in text) == "here"
    with pytest.raises(AssertionError, match="The page stays at:\nhere"):
        page.read(lambda text: "there" in text, seconds=0.2)


def test_a_picture_is_of_the_size_of_the_window(open_page, write, tmp_path):
    open_page(write(GOOD), 300, 200).screenshot(tmp_path / "page.png")
    header = (tmp_path / "page.png").read_bytes()[:24]
    assert header[1:4] == b"PNG"
    assert [int.from_bytes(header[at : at + 4]) for at in (16, 20)] == [300, 200]
