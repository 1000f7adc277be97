"""Layers with the padding and initialisation of TensorFlow 1, as in the authors' code."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

# Standard deviation of the standard normal distribution truncated at two standard deviations.
_CUT_NORMAL_STD = 0.87962566103423978


class Crop(nn.Module):
    """A layer that crops rows and columns, as torch cannot pad one side more than the other.

    Args:
        first: Number of rows and columns to crop at the top and left.
        last: Number of rows and columns to crop at the bottom and right.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x: Tensor) -> Tensor:
        """Remove ``first + last`` rows and columns from ``[..., H, W]``."""
        height, width = x.shape[-2] - self.last, x.shape[-1] - self.last
        return x[..., self.first : height, self.first : width]

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"first={self.first}, last={self.last}"


def same_conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    conv_layer: type[nn.Conv2d] = nn.Conv2d,
) -> list[nn.Module]:
    """Return a convolution with stride 1 whose output has the size of its input.

    For even kernels, TensorFlow pads one more row and column at the bottom and right. Here both
    sides get the larger padding, and the first row and column of the output are cropped, because
    torch warns about ``padding="same"`` with even kernels.
    """
    conv = conv_layer(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return [conv] if kernel_size % 2 else [conv, Crop(1, 0)]


def halving_conv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """Return a convolution with stride 2 that halves an even size, for odd kernel sizes from 3.

    As in TensorFlow, the padding is one larger at the bottom and right.
    """
    first = (kernel_size - 2) // 2
    pad = nn.ZeroPad2d((first, first + 1, first, first + 1))
    return [pad, nn.Conv2d(in_channels, out_channels, kernel_size, stride=2)]


def doubling_deconv(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """Return a transposed convolution with stride 2 that doubles the size, for kernel sizes from 2.

    As in TensorFlow, odd kernels are cropped by one more at the bottom and right.
    """
    padding = (kernel_size - 2) // 2
    deconv = nn.ConvTranspose2d(in_channels, out_channels, kernel_size, 2, padding)
    return [deconv, Crop(0, 1)] if kernel_size % 2 else [deconv]


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a BatchNorm layer with TensorFlow's momentum of 0.9, which is 0.1 in torch."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


def initialise(network: nn.Module, convolutions: Literal["he", "glorot"] = "he") -> None:
    """Initialise weights as in the authors' code; biases start at 0.

    Dense layers use Glorot's uniform distribution, TensorFlow's default.

    Args:
        network: The network.
        convolutions: ``glorot``, as for dense layers, or ``he``, Keras's ``he_normal``: a normal
            distribution truncated at two standard deviations, with variance 2 / fan_in after
            truncation. As in Keras, the fan-in of a transposed convolution is kernel size times
            *output* channels.
    """
    for layer in network.modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            continue
        if isinstance(layer, nn.Linear) or convolutions == "glorot":
            nn.init.xavier_uniform_(layer.weight)
        else:
            # ``[out, in, k, k]``, or ``[in, out, k, k]`` if transposed; both give Keras's fan-in.
            fan_in = layer.weight[0].numel()
            std = (2 / fan_in) ** 0.5 / _CUT_NORMAL_STD
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
