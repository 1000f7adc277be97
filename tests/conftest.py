import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

# Tests run in two processes, and threads do not speed up operations on tensors this small.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

# Before the first import of these modules, whose failed assertions then show the values.
pytest.register_assert_rewrite("browser", "study.runs", "atari_commands")

from browser import OpenPage, launch, open_page  # noqa: E402 - see above
from playwright.sync_api import Browser  # noqa: E402 - see above


@pytest.fixture(autouse=True)
def _numbers_next_to_zero() -> Iterator[None]:
    """Undo the flushing of denormals, which training enables; Hypothesis needs denormals."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> Iterator[None]:
    """Set Python's SIGINT handler, as background processes of a shell ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _event_files_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number event files from 0: TensorBoard sorts those of one second by name, 10 before 9."""
    if module := sys.modules.get("tensorboard.summary.writer.event_file_writer"):
        monkeypatch.setattr(module, "_global_uid", module.AtomicCounter(0))


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a temporary folder with a short path, for sockets, whose paths are limited."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def cuda() -> torch.device:
    """Return the GPU, or the device in RL_COORDCONV_TEST_DEVICE (to try tests on ``cpu``)."""
    return torch.device(os.environ.get("RL_COORDCONV_TEST_DEVICE", "cuda"))


@pytest.fixture
def capture(cuda: torch.device) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Return a function that calls another 3 times, captures it in a CUDA graph, returns replay."""

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


# Per module, because an asyncio loop runs in the tests' thread while the browser is open.
@pytest.fixture(scope="module")
def _browser() -> Iterator[Browser]:
    with launch() as browser:
        yield browser


@pytest.fixture(name="open_page")
def _open_page(_browser: Browser) -> Iterator[Callable[..., OpenPage]]:
    """Return `browser.open_page` for a browser that a module's tests share."""
    yield partial(open_page, _browser)
    for context in _browser.contexts:
        context.close()
