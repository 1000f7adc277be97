"""A real TensorBoard over the folder of all runs, read as a browser reads it."""

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
from test_train import train


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a TensorBoard over two runs that differ in the extractor."""
    folder = tmp_path_factory.mktemp("runs")
    for extractor in ("coordconv", "nature"):
        flags = f"--extractor {extractor} --total-timesteps 40 --eval-freq 0 --log-interval 1"
        train("a2c", folder / extractor, flags)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            lines = (re.search(r"http://\S+/", line) for line in process.stderr)
            yield next(match[0] for match in lines if match)
        finally:
            process.kill()


def ask(address: str, path: str, ready: Callable[[Any], bool] = bool, body: Any = None) -> Any:
    """What TensorBoard answers, once it has read so far into the runs."""
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


def test_runs_are_named_by_their_folders(address):
    runs = ask(address, "runs", lambda content: len(content) == 2)
    assert runs == sorted(runs)
    assert [Path(run).parts[-3:] for run in runs] == [
        ("MsPacman", "coordconv", "seed-0"),
        ("MsPacman", "nature", "seed-0"),
    ]


def test_one_page_has_the_curves_that_matter(address):
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


def test_the_hparams_page_tells_the_arms_apart(address):
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
