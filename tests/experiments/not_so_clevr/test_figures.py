import pytest
import torch
from figures import missing

from rl_coordconv.experiments.not_so_clevr.data import split
from rl_coordconv.experiments.not_so_clevr.figures import make_figures


@pytest.mark.parametrize("task", ["classification", "rendering", "regression"])
def test_figures_have_legends_and_labelled_colour_bars(task):
    parts = split("quadrant", canvas=16, square=5)
    shape = (2,) if task == "regression" else (1, 16, 16)
    outputs = [torch.rand(len(part), *shape) for part in parts]
    for name, figure in make_figures(task, parts, outputs).items():
        assert (name, missing(figure)) == (name, set())
