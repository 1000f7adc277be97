"""Test the splits and the images of Not-so-Clevr."""

import numpy as np
import pytest
import torch

from rl_coordconv.experiments.not_so_clevr.data import SPLITS, normalise, split
from rl_coordconv.runs.config import UserError


def members(samples):
    return {tuple(position) for position in samples.xy.tolist()}


class TestSplits:
    @pytest.mark.parametrize(
        ("name", "counts"), [("uniform", (2368, 768)), ("quadrant", (2407, 729))]
    )
    def test_have_the_authors_number_of_samples(self, name, counts):
        train, test = split(name)
        assert (len(train), len(test)) == counts

    @pytest.mark.parametrize("name", SPLITS)
    def test_contain_every_position_once(self, name):
        train, test = split(name)
        everywhere = {(x, y) for x in range(4, 60) for y in range(4, 60)}
        assert members(train) | members(test) == everywhere
        assert len(train) + len(test) == len(everywhere) == 3136

    def test_uniform_draws_once_per_position_by_column_then_row(self):
        """Compare with one draw per position."""
        rng = np.random.RandomState(20202)
        drawn = {(x, y) for x in range(4, 60) for y in range(4, 60) if rng.random_sample() < 0.25}
        assert members(split("uniform")[1]) == drawn

    def test_uniform_is_not_symmetric_in_columns_and_rows(self):
        test = members(split("uniform")[1])
        assert test != {(y, x) for x, y in test}

    def test_quadrant_tests_the_lower_right_quadrant(self):
        assert members(split("quadrant")[1]) == {
            (x, y) for x in range(33, 60) for y in range(33, 60)
        }

    def test_quadrant_of_a_small_canvas(self):
        train, test = split("quadrant", canvas=4, square=1)
        assert members(test) == {(3, 3)}
        assert len(train) == 15

    def test_are_the_same_every_time_and_do_not_use_the_global_generator(self):
        state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is meant
        first, second = split("uniform"), split("uniform")
        assert first[1].xy.equal(second[1].xy)
        assert (np.random.get_state()[1] == state).all()  # noqa: NPY002 - the global one is meant


class TestSamples:
    def test_samples_of_a_small_canvas(self):
        train, _ = split("quadrant", canvas=5, square=3)
        k = train.xy.tolist().index([1, 3])  # column 1, row 3
        assert train.pixels[k] == 16
        assert train.one_hots[k, 0].nonzero().tolist() == [[3, 1]]
        assert train.images[k, 0].tolist() == [
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 0, 0],
        ]

    def test_the_papers_samples_have_one_and_81_white_pixels(self):
        _, test = split("uniform")
        assert test.xy.dtype == torch.int64
        assert test.one_hots.shape == test.images.shape == (768, 1, 64, 64)
        assert test.one_hots.flatten(1).argmax(dim=1).equal(test.pixels)
        assert (test.one_hots.sum(dim=(1, 2, 3)) == 1).all()
        assert (test.images.sum(dim=(1, 2, 3)) == 81).all()
        assert set(test.images.unique().tolist()) == {0, 1}

    def test_an_image_is_its_one_hot_convolved_with_a_box(self):
        """The paper's definition."""
        _, test = split("quadrant")
        box = torch.ones(1, 1, 9, 9)
        assert torch.conv2d(test.one_hots, box, padding=4).round().equal(test.images)

    def test_images_are_cached(self):
        train, _ = split("quadrant", canvas=8, square=3)
        assert train.images is train.images


def test_normalised_coordinates_range_from_minus_1_to_1():
    xy = torch.tensor([[0, 2], [4, 1]])
    assert normalise(xy, 5).tolist() == [[-1, 0], [1, -0.5]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("unifrom",), "There is no split 'unifrom'; did you mean uniform?"),
        (("uniform", 8, 4), "The square's side must be odd, so that it has a centre, not 4."),
        (("uniform", 8, -1), "The square's side must be odd, so that it has a centre, not -1."),
        (("uniform", 8, 9), "A square of 9 pixels does not fit on a canvas of 8."),
        (
            ("quadrant", 64, 63),
            "A square of 63 pixels on a canvas of 64 has too few positions for the quadrant split.",
        ),
        (
            ("uniform", 9, 9),
            "A square of 9 pixels on a canvas of 9 has too few positions for the uniform split.",
        ),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence):
    with pytest.raises(UserError) as error:
        split(*arguments)
    assert str(error.value) == sentence
