from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from browser import Browser, Page


@pytest.fixture(autouse=True)
def _numbers_next_to_zero() -> Iterator[None]:
    """A training lets them be zero, for its whole process; Hypothesis needs them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture
def open_page(_browser: Browser) -> Iterator[Callable[..., Page]]:
    """`Browser.open` of a browser that tests share; the pages are closed when the test ends."""
    pages: list[Page] = []

    def open_page(*args: Any, **kwargs: Any) -> Page:
        pages.append(_browser.open(*args, **kwargs))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()
