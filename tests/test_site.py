"""The links of all pages, the examples of some, and the comments that open the configs."""

import re
from pathlib import Path

import pytest
from games import WhereIsTheSquare
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env

from rl_coordconv import CoordConv2d

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    # The text of an about.md is part of the page in the folder above it.
    *(page for page in ROOT.glob("docs/**/*.md") if page.name != "about.md"),
]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings on GitHub; the build of the site checks MkDocs's."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", prose(page)):
        if target.startswith("../../actions/"):  # GitHub's own page
            continue
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_every_config_opens_with_its_command_its_time_and_its_result():
    for config in (ROOT / "configs").rglob("*.yaml"):
        head = config.read_text().partition("\n\n")[0]
        for part in ("#   python scripts/", "# Expected time", "# Expected result"):
            assert part in head, f"{config}: {part}"


@pytest.mark.parametrize("page", ["index", "sb3", "layer"])
def test_the_python_examples_of_a_page_run(page):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    env = make_vec_env(WhereIsTheSquare)
    names = {"A2C": A2C, "env": env, "model": A2C("CnnPolicy", env, device="cpu")}
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        for large, small in {
            "1_000_000": "10",
            "MsPacman": "Klax",
            "n_envs=16": "n_envs=2",
        }.items():
            code = code.replace(large, small)
        if "MultiInputPolicy" in code:
            names["env"] = make_vec_env(WhereIsTheSquare, env_kwargs={"with_vector": True})
        exec(code, names)
    names["env"].close()
    assert any(isinstance(module, CoordConv2d) for module in names["model"].policy.modules())
