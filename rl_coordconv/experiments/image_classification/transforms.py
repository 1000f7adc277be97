"""Random crops, resizing and normalisation, as in torchvision's recipe for ImageNet.

The recipe is ``references/classification`` of torchvision: ``presets.py`` has the transforms, and
``train.py`` the sizes. Here, crops stay uint8 and are normalised on the model's device, so that
workers transfer a quarter of the bytes.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's channels in [0, 1]; presets.py."""

CROP_SIZE, RESIZE_SIZE = 224, 256
"""Size of crops, and of the shorter side before an evaluation, in pixels; train.py's defaults."""

_HFLIP_PROB = 0.5  # presets.py
_BILINEAR = v2.InterpolationMode.BILINEAR  # train.py's default
_MAX_RATIO = 4  # of the sides of an image that is resized


def training_transform(size: int) -> v2.Transform:
    """Return a transform that crops a PIL image at random, to uint8 ``[3, size, size]``.

    A crop has 8% to 100% of the image's area and an aspect ratio from 3/4 to 4/3, and is mirrored
    half the time.

    Args:
        size: Height and width of the crop, in pixels.
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, interpolation=_BILINEAR, antialias=True),
            v2.RandomHorizontalFlip(_HFLIP_PROB),
            v2.PILToTensor(),
        ]
    )


def evaluation_transform(size: int) -> v2.Transform:
    """Return a transform that crops the middle of a PIL image, to uint8 ``[3, size, size]``.

    The shorter side is resized to 256/224 of the size first.

    Args:
        size: Height and width of the crop, in pixels.
    """
    return v2.Compose(
        [
            v2.Lambda(_cut_off_ends),
            v2.Resize(size * RESIZE_SIZE // CROP_SIZE, interpolation=_BILINEAR, antialias=True),
            v2.CenterCrop(size),
            v2.PILToTensor(),
        ]
    )


def _cut_off_ends(image: Image.Image) -> Image.Image:
    """Cut off the ends of a very long image, which would become huge when it is resized."""
    longest = _MAX_RATIO * min(image.size)
    if max(image.size) <= longest:
        return image
    cut: Image.Image = F.center_crop(image, [min(side, longest) for side in reversed(image.size)])
    return cut


class Normalise(nn.Module):
    """Normalisation of uint8 images ``[..., 3, H, W]`` with ImageNet's mean and deviation.

    Its constants are buffers, because torchvision's function copies them to a GPU at every call,
    and then waits for it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised images, float32 of the same shape."""
        return (images / 255 - self.mean) / self.std
