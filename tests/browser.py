"""Open pages in headless Chromium, and record their errors and requests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

PHONE = 390  # pixels


@contextmanager
def launch() -> Iterator[Browser]:
    """Start the system's Chromium, which can only reach this machine."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    assert program, "Chromium is missing (Debian: apt-get install chromium)"
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[rules])
        yield browser
        browser.close()


@dataclass
class OpenPage:
    """A page, with its errors and requests since it was opened.

    Attributes:
        page: Playwright's page.
        errors: Errors on the console, and uncaught exceptions.
        requests: Requested addresses, except the page's.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._add_error)
        self.page.on("request", self._add_request)
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _add_error(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            self.errors.append(message.text)

    def _add_request(self, request: Request) -> None:
        own = request.is_navigation_request() and request.frame == self.page.main_frame
        if not own and not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)

    @property
    def overflow(self) -> int:
        """How much wider the document is than the window, in pixels."""
        assert self.page.viewport_size
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width - self.page.viewport_size["width"]


def open_page(
    browser: Browser, page: Path | str, width: int = 1200, height: int = 900, dark: bool = False
) -> OpenPage:
    """Open a file or an address and wait until it has requested nothing for half a second.

    Below 600 pixels the browser acts as a phone's: without a viewport tag, pages are 980 wide.
    """
    opened = OpenPage(
        browser.new_page(
            viewport={"width": width, "height": height},
            is_mobile=width < 600,
            color_scheme="dark" if dark else "light",
        )
    )
    url = page.resolve().as_uri() if isinstance(page, Path) else page
    opened.page.goto(url, wait_until="networkidle")
    return opened
