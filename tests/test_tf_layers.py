"""Test padding against values computed by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv2d, add_coords
from rl_coordconv.tf_layers import (
    doubling_deconv,
    halving_conv,
    same_conv,
)


def with_kernel(layers, *kernel):
    """Return layers as one network, with a given kernel and no bias."""
    network = nn.Sequential(*layers)
    (layer,) = [layer for layer in layers if hasattr(layer, "weight")]
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(kernel).view_as(layer.weight))
        layer.bias.zero_()
    return network


def image(*rows):
    return torch.tensor(rows, dtype=torch.float)[None, None]


class TestPadding:
    """TensorFlow's ``SAME`` padding, computed by hand."""

    def test_a_3x3_deconvolution_is_cropped_at_the_bottom_and_right(self):
        deconv = with_kernel(doubling_deconv(1, 1, 3), 1.0, 2, 3, 4, 5, 6, 7, 8, 9)
        assert deconv(image([1])).tolist() == [[[[1, 2], [4, 5]]]]
        # The two kernels overlap in the third column: 3 * 1 + 1 * 10.
        assert deconv(image([1, 10]))[0, 0, 0].tolist() == [1, 2, 13, 20]

    def test_a_2x2_deconvolution_is_not_cropped(self):
        deconv = with_kernel(doubling_deconv(1, 1, 2), 1.0, 2, 3, 4)
        assert deconv(image([1, 10]))[0, 0].tolist() == [[1, 2, 10, 20], [3, 4, 30, 40]]

    def test_a_4x4_deconvolution_is_cropped_on_all_sides(self):
        deconv = with_kernel(doubling_deconv(1, 1, 4), *map(float, range(1, 17)))
        assert deconv(image([1]))[0, 0].tolist() == [[6, 7], [10, 11]]

    def test_a_5x5_deconvolution_is_cropped_by_1_and_2(self):
        deconv = with_kernel(doubling_deconv(1, 1, 5), *map(float, range(25)))
        assert deconv(image([1]))[0, 0].tolist() == [[6, 7], [11, 12]]

    def test_a_halving_3x3_convolution_starts_at_the_first_pixel(self):
        conv = with_kernel(halving_conv(1, 1, 3), *[1.0, 10, 100], *[0.0] * 6)
        assert conv(image([1, 2, 3, 4], *[[0] * 4] * 3))[0, 0].tolist() == [[321, 43], [0, 0]]

    def test_a_halving_5x5_convolution_starts_one_before_the_first_pixel(self):
        middle_row = [0.0] * 5 + [1, 10, 100, 1000, 10000] + [0.0] * 15
        conv = with_kernel(halving_conv(1, 1, 5), *middle_row)
        assert conv(image([1, 2, 3, 4], *[[0] * 4] * 3))[0, 0, 0].tolist() == [43210, 432]

    @pytest.mark.parametrize(
        ("size", "kernel", "expected"),
        [
            (2, [1.0, 10, 0, 0], [21, 32, 3]),
            (3, [0.0, 0, 0, 1, 10, 100, 0, 0, 0], [210, 321, 32]),
            (4, [0.0] * 4 + [1, 10, 100, 1000] + [0.0] * 8, [3210, 321, 32]),
        ],
    )
    def test_a_convolution_with_stride_1_keeps_the_size(self, size, kernel, expected):
        conv = with_kernel(same_conv(1, 1, size), *kernel)
        out = conv(image([1, 2, 3], [0, 0, 0], [0, 0, 0]))
        assert out.shape == (1, 1, 3, 3)
        assert out[0, 0, 0].tolist() == expected

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_coordinates_are_padded_with_the_input(self, size):
        layers = same_conv(3, 5, size, CoordConv2d)
        x = torch.rand(2, 3, 6, 6)
        before, after = (size - 1) // 2, size // 2
        padded = F.pad(add_coords(x), (before, after, before, after))
        assert_close(nn.Sequential(*layers)(x), F.conv2d(padded, layers[0].weight, layers[0].bias))
