"""Test walks between latents, and that their metrics separate fading from moving."""

import pytest
import torch

from rl_coordconv.experiments.generative.data import (
    Objects,
    draw,
    make_images,
    scale,
)
from rl_coordconv.experiments.generative.walks import pixel_walk, walk, walk_metrics


def frames_at(*offsets):
    """Return one walk whose two circles are moved by offsets (x, y), or absent where None."""
    start = torch.tensor([[12, 12], [12, 40]])
    images = [
        torch.ones(3, 64, 64)
        if offset is None
        else scale(draw(Objects(start[None] + torch.tensor(offset), torch.ones(1, 2) == 1, 64)))[0]
        for offset in offsets
    ]
    return torch.stack(images)[None]


class TestWalk:
    def test_decodes_straight_lines_in_small_batches(self):
        sizes = []

        def decode(latents):
            assert not torch.is_grad_enabled()
            sizes.append(len(latents))
            return latents.view(-1, 3, 1, 1) * 2

        torch.manual_seed(0)
        start, end = torch.randn(100, 3), torch.randn(100, 3)
        images = walk(decode, start, end, n_frames=5)
        assert images.shape == (100, 5, 3, 1, 1)
        assert sizes == [256, 244]
        assert images[:, 0, :, 0, 0].equal(start * 2)
        assert images[:, 4, :, 0, 0].equal(end * 2)
        assert images[:, 1, :, 0, 0].allclose(start * 1.5 + end * 0.5, atol=1e-6)

    def test_in_pixels(self):
        start, end = scale(make_images(2, 16, seed=0)), scale(make_images(2, 16, seed=1))
        images = pixel_walk(start, end, n_frames=3)
        assert images.shape == (2, 3, 3, 16, 16)
        assert images.equal(torch.stack([start, (start + end) / 2, end], dim=1))


class TestFading:
    start, end = scale(make_images(100, 64, seed=0)), scale(make_images(100, 64, seed=1))

    def test_is_seen_at_half_saturation(self):
        metrics = walk_metrics(pixel_walk(self.start, self.end))
        assert metrics["good"] == pytest.approx(8 / 17, abs=0.01)  # less than a quarter of the way
        assert metrics["middle_good"] == 0
        assert metrics["evenness"] < 0.1

    def test_is_not_seen_without_a_threshold(self):
        metrics = walk_metrics(pixel_walk(self.start, self.end), threshold=0)
        assert metrics["good"] == pytest.approx(16 / 17, abs=0.01)  # all but the middle
        assert metrics["middle_good"] == pytest.approx(4 / 5, abs=0.01)


def test_objects_that_move_are_good_straight_and_even():
    def decode(latents):
        centres = latents.round().long().view(-1, 2, 2)
        return scale(draw(Objects(centres, torch.tensor([[True, False]]).expand(17, 2), 64)))

    start, end = torch.tensor([[12.0, 12, 50, 50]]), torch.tensor([[44.0, 12, 18, 34]])
    metrics = walk_metrics(walk(decode, start, end))
    assert metrics == pytest.approx({"good": 1, "middle_good": 1, "straightness": 1, "evenness": 1})


class TestMovement:
    def test_of_a_corner(self):
        metrics = walk_metrics(frames_at((0, 0), (0, 3), (4, 3)))
        assert metrics["straightness"] == pytest.approx(5 / 7)
        assert metrics["evenness"] == pytest.approx(3.5 / 4)

    @pytest.mark.parametrize(
        "middle", [[(0, 0)] * 3, [(9, 0)] * 3, [None] * 3, [(0, 0), None, (9, 0)]]
    )
    def test_of_one_jump(self, middle):
        metrics = walk_metrics(frames_at((0, 0), *middle, (9, 0)))
        assert metrics["straightness"] == pytest.approx(1)
        assert metrics["evenness"] == pytest.approx(1 / 4)

    def test_is_undefined_without_a_path(self):
        assert walk_metrics(frames_at((5, 5), (5, 5), (5, 5))) == {"good": 1, "middle_good": 1}
        assert walk_metrics(frames_at(None, None)) == {"good": 0}
        assert walk_metrics(frames_at(None, (0, 0), None)) == {"good": 1 / 3, "middle_good": 1}

    def test_the_middle_third_includes_its_ends(self):
        assert walk_metrics(frames_at(None, (0, 0), None, None))["middle_good"] == 0.5

    def test_paths_of_less_than_a_pixel_are_left_out(self):
        frames = frames_at((0, 0), (0, 0), (0, 0))
        frames[:, 1:, 1:, 12, 23] = -1  # red is a pixel wider, so its centre moves by half of one
        assert walk_metrics(frames) == {"good": 1, "middle_good": 1}
