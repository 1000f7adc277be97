"""Layers with the padding and the initialisation of TensorFlow 1, in which the paper's code is."""

from __future__ import annotations

from torch import Tensor, nn

# The standard deviation of a normal distribution after cutting it at two standard deviations.
_CUT_NORMAL_STD = 0.87962566103423978


class PixelSoftmax(nn.Module):
    """The softmax over all pixels of an image: ``[B, 1, H, W]`` -> the same, summing to 1."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.flatten(1).softmax(dim=1).view_as(x)


class Crop(nn.Module):
    """Crops rows and columns, because torch cannot pad one side more than the other.

    Args:
        first: Rows and columns to crop at the top and at the left.
        last: Those at the bottom and at the right.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x: Tensor) -> Tensor:
        """``[..., H, W]`` -> the same with ``first + last`` fewer rows and columns."""
        height, width = x.shape[-2] - self.last, x.shape[-1] - self.last
        return x[..., self.first : height, self.first : width]

    def extra_repr(self) -> str:
        """Return what is cropped."""
        return f"first={self.first}, last={self.last}"


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    conv_layer: type[nn.Conv2d] = nn.Conv2d,
) -> list[nn.Module]:
    """Return a convolution of stride 1 whose output has the size of its input.

    TensorFlow pads an even kernel by one more at the bottom and at the right. Here both sides get
    the larger padding, and the first row and column are cropped: ``padding="same"`` warns.
    """
    conv = conv_layer(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return [conv] if kernel_size % 2 else [conv, Crop(1, 0)]


def halving_conv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """Return a convolution of stride 2, of an odd kernel above 1, that halves an even size.

    TensorFlow pads by one more at the bottom and at the right.
    """
    first = (kernel_size - 2) // 2
    pad = nn.ZeroPad2d((first, first + 1, first, first + 1))
    return [pad, nn.Conv2d(in_channels, out_channels, kernel_size, stride=2)]


def doubling_deconv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """Return a transposed convolution of stride 2, of a kernel of 2 or more, that doubles the size.

    TensorFlow crops both sides, and for an odd number one more at the bottom and at the right.
    """
    padding = (kernel_size - 2) // 2
    deconv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size, 2, padding)
    return [deconv, Crop(0, 1)] if kernel_size % 2 else [deconv]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a BatchNorm layer; TensorFlow's momentum 0.9 is torch's 0.1."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def initialise(network: nn.Module) -> None:
    """Initialise weights as the authors' code does; biases start at 0.

    Convolutions: Keras's ``he_normal``, a normal distribution cut at two standard deviations, with
    variance 2 / fan_in after the cut. As in Keras, the fan-in of a transposed convolution is kernel
    size times *output* channels. Dense layers: Glorot's uniform distribution.
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
