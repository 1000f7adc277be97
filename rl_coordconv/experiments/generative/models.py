"""The networks of the GAN and the VAE: generators, discriminators, encoders and decoders.

Images are ``[B, 3, H, W]``. The generators and discriminators are those of the authors' code; with
64 channels, 64 pixels and a latent size of 256 they have the same numbers of parameters. A
generator's output has no ``tanh``, and a decoder's is logits.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.experiments.generative.shape import START, Shape
from rl_coordconv.tf_layers import batch_norm, doubling_deconv, halving_conv, initialise, same_conv

_KERNEL = 5

# Replacement of the coordinates, by model; None keeps the coordinates.
_CONTROLS = {
    "coordconv": None,
    "coordconv-g": None,
    "coordconv-zeros": "zeros",
    "coordconv-noise": "noise",
}


class PixelNetwork(nn.Module):
    """1x1 and 3x3 convolutions over the latent and the coordinates at every pixel.

    The first layer is a CoordConv. Its input is the same at every pixel and its coordinates are the
    same in every sample, so both parts are computed once and added; the repeated latent is never
    built.

    Args:
        shape: Size of the latents and images.
        control: None, or ``zeros`` or ``noise`` in place of the coordinates.
    """

    def __init__(self, shape: Shape, control: str | None = None) -> None:
        super().__init__()
        c = shape.channels
        self.canvas = shape.canvas
        self.first = COORD_LAYERS[control](shape.latent_size, 8 * c, 1)
        # Not in place: the first layer's output is a view, whose gradient autograd would then copy.
        layers: list[nn.Module] = [nn.ReLU()]
        for before, after in itertools.pairwise([8 * c, 4 * c, 4 * c, 2 * c, c]):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers += [*same_conv(c, c, 3), nn.ReLU(inplace=True)]
        self.rest = nn.Sequential(*layers, nn.Conv2d(c, 3, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Map ``[B, latent_size]`` to ``[B, 3, H, W]``."""
        return self.rest(self.first_layer(z))

    def first_layer(self, z: Tensor) -> Tensor:
        """Compute the output of the first layer, ``[B, C, H, W]``."""
        by_sample = F.linear(z, self.first.split_weight()[0].flatten(1), self.first.bias)
        by_pixel = self.first.positional_map((self.canvas, self.canvas)).flatten(1).T.contiguous()
        # As [B, H * W, C], which is channels-last format: the sums of its gradient are much faster.
        out = by_sample[:, None] + by_pixel
        return out.transpose(1, 2).unflatten(2, (self.canvas, self.canvas))


class AppendChannels(nn.Module):
    """Append the coordinates of every pixel to images, as in the definition of CoordConv.

    The next layer is `halving_conv`, which pads one side more than the other. A `CoordConv2d` pads
    both sides equally, and after separate padding its coordinates would include the padding.

    Args:
        canvas: Width and height of the images, in pixels.
        control: None, or ``zeros`` or ``noise`` in place of the coordinates.
    """

    def __init__(self, canvas: int, control: str | None = None) -> None:
        super().__init__()
        layer = COORD_LAYERS[control](0, 1, 1, device="meta")
        channels = layer.make_coordinates(
            (canvas, canvas), device=torch.device("cpu"), dtype=torch.float32
        )
        self.register_buffer("channels", channels, persistent=False)
        self.channels: Tensor  # [2, H, W]

    def forward(self, images: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to ``[B, C + 2, H, W]``."""
        return torch.cat([images, self.channels.expand(len(images), -1, -1, -1)], dim=1)


def make_generator(model: str, shape: Shape) -> nn.Module:
    """Build a generator: latents ``[B, latent_size]`` to images before ``tanh``.

    As in the authors' code, ``conv`` has BatchNorm and Glorot's initialisation, and the others have
    no BatchNorm and He's initialisation.

    Args:
        model: A name in `names.GAN_MODELS`.
        shape: Size of the latents and images.
    """
    if model == "conv":
        deconvolutions = _deconvolutions(shape, batch_norms=True)
        initialise(deconvolutions, "glorot")
        return deconvolutions
    network = PixelNetwork(shape, _CONTROLS[model])
    initialise(network)
    return network


def make_discriminator(model: str, shape: Shape) -> nn.Sequential:
    """Build a discriminator: images to logits ``[B, 1]``.

    Args:
        model: A name in `names.GAN_MODELS`.
        shape: Size of the images.
    """
    sees_coordinates = model not in ("conv", "coordconv-g")
    layers: list[nn.Module] = []
    if sees_coordinates:
        layers.append(AppendChannels(shape.canvas, _CONTROLS[model]))
    first = shape.widths[0]
    layers += [*halving_conv(3 + 2 * sees_coordinates, first, _KERNEL), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(shape.widths):
        layers += [*halving_conv(before, after, _KERNEL), batch_norm(after), nn.LeakyReLU(0.2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(START**2 * shape.widths[-1], 1))
    initialise(network, "glorot")
    return network


def make_encoder(shape: Shape) -> nn.Sequential:
    """Build an encoder: images to the means and log variances of latents, ``[B, 2 * latent_size]``.

    It is the discriminator without coordinates and BatchNorm. All models share it.

    Args:
        shape: Size of the latents and images.
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise([3, *shape.widths]):
        layers += [*halving_conv(before, after, _KERNEL), nn.ReLU()]
    dense = nn.Linear(START**2 * shape.widths[-1], 2 * shape.latent_size)
    network = nn.Sequential(*layers, nn.Flatten(), dense)
    initialise(network)
    return network


def make_decoder(model: str, shape: Shape) -> nn.Module:
    """Build a decoder: latents ``[B, latent_size]`` to images as logits.

    ``conv`` has transposed convolutions without BatchNorm. The others are 1x1 and 3x3 convolutions
    over the repeated latent: the GAN's generator, and in essence the spatial broadcast decoder
    (Watters et al. 2019).

    Args:
        model: A name in `names.VAE_MODELS`.
        shape: Size of the latents and images.
    """
    if model == "conv":
        deconvolutions = _deconvolutions(shape, batch_norms=False)
        initialise(deconvolutions)
        return deconvolutions
    network = PixelNetwork(shape, _CONTROLS[model])
    initialise(network)
    return network


def _deconvolutions(shape: Shape, batch_norms: bool) -> nn.Sequential:
    """Return a dense layer and transposed convolutions that each double the size."""

    def norm(channels: int) -> list[nn.Module]:
        return [batch_norm(channels)] if batch_norms else []

    widths = shape.widths[::-1]
    layers: list[nn.Module] = [
        nn.Linear(shape.latent_size, START**2 * widths[0]),
        nn.Unflatten(1, (widths[0], START, START)),
        *norm(widths[0]),
        nn.ReLU(),
    ]
    for before, after in itertools.pairwise(widths):
        layers += [*doubling_deconv(before, after, _KERNEL), *norm(after), nn.ReLU()]
    return nn.Sequential(*layers, *doubling_deconv(widths[-1], 3, _KERNEL))
