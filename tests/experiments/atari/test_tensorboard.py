"""A real TensorBoard server for the folder of all runs, read over HTTP and in a browser."""

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import OpenPage
from playwright.sync_api import Page, expect

# The text of a page in its order, web components included.
TEXT = """(function text(node) {
    if (node.nodeType === Node.TEXT_NODE) return [node.data.trim()];
    if (node.matches?.("style, script, template")) return [];
    return [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes].flatMap(text);
})(document.body).filter(Boolean)"""

RUNS = ["a2c/MsPacman/coordconv-n_envs-2/seed-0", "a2c/MsPacman/nature-n_envs-2/seed-0"]


@pytest.fixture(scope="module")
def address(two_runs: Path) -> Iterator[str]:
    """The address of a TensorBoard server for two runs that differ in the extractor."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(two_runs), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            lines = (re.search(r"http://\S+/", line) for line in process.stderr)
            yield next(match[0] for match in lines if match)
        finally:
            process.kill()


def ask(address: str, path: str, ready: Callable[[Any], bool] = bool, body: Any = None) -> Any:
    """Return TensorBoard's answer as soon as the server is ready."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}data/{path}", data)
    request.add_header("Content-Type", "application/json")
    for _ in range(120):
        try:
            with urllib.request.urlopen(request) as answer:
                content = json.load(answer)
            if ready(content):
                return content
        except urllib.error.HTTPError:
            pass  # nothing is loaded yet
        time.sleep(0.5)
    raise AssertionError(f"TensorBoard has no {path}")


def text(page: Page) -> list[str]:
    return list(page.evaluate(TEXT))


def test_runs_are_named_by_their_folders(address):
    assert ask(address, "runs", lambda content: len(content) == 2) == RUNS


def test_custom_scalars_have_the_main_curves(address):
    layout = ask(address, "plugin/custom_scalars/layout", lambda content: "category" in content)
    sections = {section["title"]: section["chart"] for section in layout["category"]}
    assert list(sections) == ["Score", "Learning", "Speed"]
    runs = ask(
        address,
        "plugin/scalars/tags",
        lambda content: any("train/value_loss" in tags for tags in content.values()),
    )
    tags = {tag for tags in runs.values() for tag in tags}
    for chart in (chart for charts in sections.values() for chart in charts):
        (pattern,) = chart["multiline"]["tag"]
        drawn = [tag for tag in tags if re.fullmatch(pattern, tag)]
        # No game is over after 40 steps, and none was evaluated.
        assert drawn or pattern in ("rollout/ep_rew_mean", "eval/mean_reward")


def test_the_hparams_page_shows_the_settings_that_differ_first(address):
    body = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"],
        "colParams": [{"hparam": "extractor"}],
        "startIndex": 0,
        "sliceSize": 10,
    }
    path = "plugin/hparams/session_groups"
    answer = ask(address, path, lambda content: len(content.get("sessionGroups", [])) == 2, body)
    groups = answer["sessionGroups"]
    assert {group["hparams"]["extractor"] for group in groups} == {"coordconv", "nature"}
    page = ask(address, "plugin/hparams/experiment", bool, {"experimentName": ""})
    differing = [info["name"] for info in page["hparamInfos"] if info["differs"]]
    assert differing == ["extractor"]
    assert {"learning_rate", "seed"} <= {info["name"] for info in page["hparamInfos"]}


@pytest.mark.browser
class TestInABrowser:
    @pytest.fixture
    def open_tab(self, address, open_page):
        ask(
            address,
            "plugin/scalars/tags",
            lambda runs: sum("train/value_loss" in tags for tags in runs.values()) == 2,
        )
        return lambda name: open_page(f"{address}#{name}", width=1400)

    def check(self, opened: OpenPage) -> None:
        """TensorBoard may request fonts, which are not available offline."""
        assert [error for error in opened.errors if "ERR_NAME_NOT_RESOLVED" not in error] == []

    def test_runs_are_listed_by_short_names(self, open_tab):
        opened = open_tab("timeseries")
        for run in RUNS:
            expect(opened.page.get_by_text(run).first).to_be_visible(timeout=60_000)
        names = [line for line in text(opened.page) if "seed" in line]
        assert list(dict.fromkeys(names)) == RUNS
        self.check(opened)

    def test_custom_scalars_are_drawn(self, open_tab):
        opened = open_tab("custom_scalars")
        for matches, charts in ((2, 3), (1, 1), (0, 2)):  # one run may be loaded before the other
            drawn = opened.page.get_by_text(f"Matches ({matches})", exact=True)
            expect(drawn).to_have_count(charts, timeout=60_000)
        lines = iter(text(opened.page))
        for line in [
            "Score",
            "Matches (0)",  # no game is over after 40 steps
            "Matches (0)",  # and none was evaluated
            "Learning",
            "Matches (2)",
            "Matches (2)",
            "share of the coordinates in the weights",
            "Matches (1)",
            f"coord/weight_share/cnn.0 ({RUNS[0]})",
            "Speed",
            "Matches (2)",
        ]:
            assert line in lines  # from the last one on
        self.check(opened)
