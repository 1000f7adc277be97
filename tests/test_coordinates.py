"""Test coordinates against values computed by hand."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.testing import assert_close

from rl_coordconv import (
    CoordConv1d,
    CoordConv2d,
    CoordConv3d,
    CoordConvTranspose2d,
    add_coords,
    convert,
    coordinate_channels,
)

ROOT_TWO = 2**0.5


class TestCoordinates:
    def test_coordinates_of_a_2x3_image(self):
        i, j, r = coordinate_channels((2, 3), with_r=True)
        assert_close(i, torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
        assert_close(j, torch.tensor([[-1.0, 0, 1], [-1, 0, 1]]))
        assert_close(r, torch.tensor([[ROOT_TWO, 1, ROOT_TWO], [ROOT_TWO, 1, ROOT_TWO]]))

    @given(st.integers(2, 1000))
    def test_coordinates_are_exactly_symmetric_and_reach_both_ends(self, n):
        (i,) = coordinate_channels((n,))
        assert (i[0], i[-1]) == (-1, 1)
        assert i.equal(-i.flip(0))
        assert (i.diff() > 0).all()

    def test_coordinates_of_one_axis(self):
        assert_close(coordinate_channels((5,)), torch.tensor([[-1, -0.5, 0, 0.5, 1]]))

    def test_coordinates_of_three_axes(self):
        """One published port sums two axes in each channel, as raw pixel indices."""
        channels = coordinate_channels((3, 2, 5))
        assert channels.shape == (3, 3, 2, 5)
        assert_close(channels[0, :, 1, 4], torch.tensor([-1.0, 0, 1]))
        assert_close(channels[1, 2, :, 4], torch.tensor([-1.0, 1]))
        assert_close(channels[2, 2, 1, :], torch.tensor([-1, -0.5, 0, 0.5, 1]))

    @pytest.mark.parametrize("size", [(9, 9), (5, 9), (84, 3)])
    def test_rows_come_first_and_reach_both_ends(self, size):
        """Published ports swap the axes' denominators, or stop at -0.5 or at 1 - 1/n."""
        i, j = coordinate_channels(size)
        assert_close(i[:, 0], torch.linspace(-1, 1, size[0]))
        assert_close(j[0, :], torch.linspace(-1, 1, size[1]))
        assert (i[0].unique(), i[-1].unique()) == (-1, 1)
        assert (j[:, 0].unique(), j[:, -1].unique()) == (-1, 1)

    @pytest.mark.parametrize("size", [(9, 9), (5, 11)])
    def test_the_radius_is_zero_at_the_centre_and_sqrt_2_at_the_corners(self, size):
        """The paper's listing and most published ports measure from (0.5, 0.5)."""
        r = coordinate_channels(size, with_r=True)[2]
        assert r[size[0] // 2, size[1] // 2] == 0
        assert (r > 0).sum() == r.numel() - 1
        corners = r[:: size[0] - 1, :: size[1] - 1]
        assert_close(corners, torch.full((2, 2), ROOT_TWO))

    def test_an_axis_of_one_pixel_has_coordinate_zero(self):
        """Published ports divide zero by zero, which makes the whole output NaN."""
        i, j, r = coordinate_channels((1, 3), with_r=True)
        assert i.tolist() == [[0, 0, 0]]
        assert j.tolist() == [[-1, 0, 1]]
        assert r.tolist() == [[1, 0, 1]]
        assert coordinate_channels((1,)).tolist() == [[0]]
        assert coordinate_channels((1, 1), with_r=True).tolist() == [[[0]], [[0]], [[0]]]

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_narrow_types_are_rounded_once_from_float32(self, dtype):
        narrow = coordinate_channels((84, 300), with_r=True, dtype=dtype)
        assert narrow.dtype == dtype
        assert narrow.equal(coordinate_channels((84, 300), with_r=True).to(dtype))

    def test_float64_is_exact_to_float64(self):
        i = coordinate_channels((4,), dtype=torch.float64)
        assert_close(i, torch.tensor([[-1, -1 / 3, 1 / 3, 1]], dtype=torch.float64))

    def test_an_integer_dtype_is_an_error(self):
        with pytest.raises(TypeError, match=r"floating-point dtype.*uint8"):
            coordinate_channels((2, 3), dtype=torch.uint8)

    def test_are_on_the_requested_device(self):
        assert coordinate_channels((2, 3), device="meta").is_meta
        with torch.device("meta"):
            assert coordinate_channels((2, 3)).is_meta


class TestAddCoords:
    def test_appends_rows_then_columns_then_radius_to_every_sample(self):
        x = torch.rand(2, 3, 5, 4)
        joint = add_coords(x, with_r=True)
        assert joint[:, :3].equal(x)
        for sample in joint:
            assert sample[3:].equal(coordinate_channels((5, 4), with_r=True))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.complex64])
    def test_keeps_the_dtype(self, dtype):
        x = torch.rand(2, 3, 5, 4).to(dtype)
        assert add_coords(x).dtype == dtype
        assert add_coords(x)[:, :3].equal(x)

    def test_promotes_integers(self):
        """In one published port, coordinates of uint8 frames wrap around to 255, 0, 0, 1."""
        frames = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
        joint = add_coords(frames)
        assert joint.dtype == torch.float32
        assert joint[:, :4].equal(frames.float())
        assert joint[0, 4:].equal(coordinate_channels((5, 3)))


@pytest.mark.parametrize("with_r", ["False", "r", 2, -1, None, 0.5])
def test_with_r_must_be_true_or_false(with_r):
    for make in (CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d):
        with pytest.raises(ValueError, match="with_r must be True or False, not"):
            make(1, 2, 3, with_r=with_r)
        with pytest.raises(ValueError, match="with_r must be True or False, not"):
            make.from_conv(make.plain(1, 2, 3), with_r)
    for call in (
        lambda: convert(nn.Conv2d(1, 2, 3), with_r=with_r),
        lambda: coordinate_channels((2, 3), with_r),
        lambda: add_coords(torch.zeros(1, 1, 2, 3), with_r),
    ):
        with pytest.raises(ValueError, match="with_r must be True or False, not"):
            call()


def test_with_r_may_be_numpys_bool_or_0():
    assert CoordConv2d(1, 2, 3, with_r=np.bool_(True)).with_r is True
    assert CoordConv2d(1, 2, 3, with_r=0).with_r is False


@pytest.mark.parametrize("make", [CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d])
def test_a_negative_number_of_channels_is_an_error(make):
    with pytest.raises(ValueError, match="in_channels must be at least 0, not -1"):
        make(-1, 4, 3)
