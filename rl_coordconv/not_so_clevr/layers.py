"""The parts of the toy networks, as TensorFlow pads and initialises them.

The paper's numbers were made in TensorFlow 1; what differs from torch's defaults is here.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.coordconv import CoordConv2d, coordinate_channels

# A normal distribution cut at two standard deviations has this share of its standard deviation.
_CUT_NORMAL_STD = 0.87962566103423978
# Samples that go through a network of pixels together on a CPU, so that their activations stay in
# its cache.
_CHUNK = 2


class PixelMLP(nn.Sequential):
    """1x1 convolutions and ReLUs over (x, y), tiled, and coordinates: a small network per pixel.

    The first layer is a CoordConv. Its input is the same at every pixel and its coordinates are
    the same in every sample, so each part is computed once and the sum is all that is built. The
    others are matrix products over ``[pixels, channels]``, which spares convolutions' layouts.

    What it computes is ``nn.Sequential``'s forward over the tiled input.

    Args:
        canvas: Pixels along a side of the image.
        widths: Output channels of each layer.
    """

    def __init__(self, canvas: int, widths: tuple[int, ...]) -> None:
        layers: list[nn.Module] = [CoordConv2d(2, widths[0], 1)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.ReLU(), nn.Conv2d(before, after, 1)]
        super().__init__(*layers)
        self.canvas = canvas
        # Computed, so not in the state_dict.
        coords = coordinate_channels((canvas, canvas)).flatten(1).T.contiguous()
        self.register_buffer("coords", coords, persistent=False)
        self.coords: Tensor  # [H * W, 2]

    def forward(self, xy: Tensor) -> Tensor:
        """``[B, 2]`` -> ``[B, C, H, W]``, where C is the last of the widths."""
        first = self[0]
        assert isinstance(first, CoordConv2d)
        x_weight, coord_weight = (part.flatten(1) for part in first.split_weight())
        by_sample = F.linear(xy, x_weight)  # [B, C]
        by_pixel = F.linear(self.coords, coord_weight, first.bias)  # [H * W, C]
        samples = len(xy) if xy.is_cuda else _CHUNK
        chunks = [self._rest(part[:, None, :] + by_pixel) for part in by_sample.split(samples)]
        out = torch.cat(chunks) if len(chunks) > 1 else chunks[0]
        return out.transpose(1, 2).reshape(len(xy), -1, self.canvas, self.canvas)

    def _rest(self, x: Tensor) -> Tensor:
        """The layers after the first: ``[B, H * W, C]`` -> the same with other channels."""
        n_samples = len(x)
        x = x.flatten(0, 1)
        for layer in list(self)[1:]:
            if isinstance(layer, nn.Conv2d):
                x = F.linear(x, layer.weight.flatten(1), layer.bias)
            else:
                x = F.relu_(x)
        return x.view(n_samples, -1, x.shape[1])


class PixelSoftmax(nn.Module):
    """The softmax over all pixels of an image: ``[B, 1, H, W]`` -> the same, summing to 1."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.flatten(1).softmax(dim=1).view_as(x)


class Crop(nn.Module):
    """Cuts rows and columns off: the remainder of a padding that torch cannot make lopsided.

    Args:
        first: How many to cut off at the top and at the left.
        last: How many at the bottom and at the right.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x: Tensor) -> Tensor:
        """``[..., H, W]`` -> the same with ``first + last`` fewer rows and columns."""
        height, width = x.shape[-2] - self.last, x.shape[-1] - self.last
        return x[..., self.first : height, self.first : width]

    def extra_repr(self) -> str:
        """What is cut off."""
        return f"first={self.first}, last={self.last}"


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    conv_layer: type[nn.Conv2d] = nn.Conv2d,
) -> list[nn.Module]:
    """A convolution of stride 1 whose output is as large as its input.

    TensorFlow pads an even kernel by one more at the bottom and at the right. Here both sides get
    the larger padding, and the first row and column go: ``padding="same"`` warns of its copies.
    """
    conv = conv_layer(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return [conv] if kernel_size % 2 else [conv, Crop(1, 0)]


def halving_conv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """A convolution of stride 2 from an even size to half of it, of an odd kernel above 1.

    TensorFlow pads by one more at the bottom and at the right.
    """
    first = (kernel_size - 2) // 2
    pad = nn.ZeroPad2d((first, first + 1, first, first + 1))
    return [pad, nn.Conv2d(in_channels, out_channels, kernel_size, stride=2)]


def doubling_deconv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """A transposed convolution of stride 2 to twice the size, of a kernel of 2 or more.

    TensorFlow cuts what is too much off both sides, of an odd number one more at the bottom and at
    the right.
    """
    padding = (kernel_size - 2) // 2
    deconv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size, 2, padding)
    return [deconv, Crop(0, 1)] if kernel_size % 2 else [deconv]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """TensorFlow's momentum 0.9 is torch's 0.1."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def initialise(network: nn.Module) -> None:
    """Draw weights as the authors' code does; biases start at 0.

    Convolutions: Keras's ``he_normal``, a normal distribution cut at two standard deviations, of
    variance 2 / fan_in after the cut. The fan-in of a transposed convolution is that of Keras too:
    kernel times *output* channels. Dense layers: Glorot's uniform distribution.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            # ``[out, in, k, k]``, or ``[in, out, k, k]`` where transposed: either gives Keras's.
            fan_in = layer.weight[0].numel()
            std = (2 / fan_in) ** 0.5 / _CUT_NORMAL_STD
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
