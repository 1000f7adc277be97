import numpy as np
import pytest

from rl_coordconv.extractors import EXTRACTORS
from rl_coordconv.runs.results import EXTRACTOR_STYLES, markdown_table, styles


def test_every_extractor_has_a_distinct_style():
    assert list(styles(EXTRACTORS)) == list(EXTRACTORS) == list(EXTRACTOR_STYLES)
    drawn = styles([*EXTRACTORS, "a", "b", "c", "d"])
    assert len({(style.colour, style.marker) for style in drawn.values()}) == len(drawn)
    assert len({style.colour for style in drawn.values()}) == len(drawn)
    assert styles(["a", "nature"])["nature"] == drawn["nature"]


# Linear RGB as seen by protanopes and deuteranopes (Machado et al. 2009, severity 1).
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
}


@pytest.mark.parametrize("sight", SIGHT)
def test_colour_blind_people_can_distinguish_the_main_variants(sight):
    names = ["nature", "coordconv", "coordconv-all", "coordconv-r", "nature-zeros", "nature-noise"]
    codes = [style.colour[1:] for style in styles(names).values()]
    rgb = np.array([[int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)] for code in codes])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ SIGHT[sight].T).clip(0, 1) ** (1 / 2.4)
    distances = np.linalg.norm(seen[:, None] - seen, axis=-1)[np.triu_indices(len(names), 1)]
    assert distances.min() > 0.12


def test_a_markdown_table_matches_one_written_by_hand():
    rows = [["a", "1"], ["long", "22"]]
    assert markdown_table(["x", "n"], rows) == (
        "| x | n |\n| --- | --- |\n| a | 1 |\n| long | 22 |"
    )
    assert markdown_table(["x", "n"], rows, align=True) == (
        "| x    | n  |\n| ---- | -- |\n| a    | 1  |\n| long | 22 |"
    )
    assert markdown_table(["x"], []) == "| x |\n| --- |"
