import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial

# Tests run in two processes, and for tensors this small, handing work over takes longest.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from browser import OpenPage, launch, open_page
from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def _numbers_next_to_zero() -> Iterator[None]:
    """A training lets them be zero, for its whole process; Hypothesis needs them."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> Iterator[None]:
    """Scripts start background processes with SIGINT ignored, and so their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _event_files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads files of the same second by name, in which number 10 is before 9."""
    if module := sys.modules.get("tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setattr(module, "_global_uid", module.AtomicCounter(0))


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """The GPU; with RL_COORDCONV_TEST_DEVICE=cpu its tests can be tried without one."""
    return torch.device(os.environ.get("RL_COORDCONV_TEST_DEVICE", "cuda"))


@pytest.fixture
def capture(cuda: torch.device) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Capture a function in a CUDA graph, and return the graph's replay; call it 3 times before."""

    def capture(function: Callable[[], object]) -> Callable[[], object]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.cuda.graph(graph):
            function()
        return graph.replay

    def warm_up(function: Callable[[], object]) -> Callable[[], object]:
        for _ in range(3):
            function()
        return function

    return capture if cuda.type == "cuda" else warm_up


# Not for the session: while it runs, asyncio takes the tests' thread for its own.
@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(name="open_page")
def _open_page(_browser: Browser) -> Iterator[Callable[..., OpenPage]]:
    """`browser.open_page` in a browser that a module's tests share."""
    yield partial(open_page, _browser)
    for context in _browser.contexts:
        context.close()
