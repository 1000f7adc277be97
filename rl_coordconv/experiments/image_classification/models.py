"""Classifiers with one more layer in front: a 1x1 CoordConv with eight output channels.

See Liu et al. 2018, section 5. The paper does not say whether an activation follows the layer; here
there is none, so that the layer can start as the identity.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.experiments.image_classification.backbones import make_backbone
from rl_coordconv.experiments.image_classification.names import ClassificationModel
from rl_coordconv.runs.config import UserError

FRONT_CHANNELS = 8
"""Output channels of the layer in front (section 5)."""

_RGB = 3
# Replacement of the coordinates, by model; None keeps the coordinates.
_CONTROLS = {"coordconv": None, "coordconv-zeros": "zeros", "coordconv-noise": "noise"}


class FrontedClassifier(nn.Module):
    """A classifier with a layer in front of it.

    Args:
        front: The layer, with three input channels.
        backbone: The classifier, whose first convolution takes the layer's output.
    """

    def __init__(self, front: nn.Conv2d, backbone: nn.Module) -> None:
        super().__init__()
        self.front, self.backbone = front, backbone

    def forward(self, images: Tensor) -> Tensor:
        """Map ``[B, 3, H, W]`` to logits ``[B, n_classes]``."""
        logits: Tensor = self.backbone(self.front(images))
        return logits


def make_classifier(
    model: ClassificationModel, backbone: str, n_classes: int, weights: str = ""
) -> nn.Module:
    """Return a classifier: images ``[B, 3, H, W]`` to logits ``[B, n_classes]``.

    With the same state of torch's random number generator, all models start with the same weights
    behind their first convolution. With given weights, all compute the same output at first.

    Args:
        model: A name in `names.ClassificationModel`; ``plain`` is the backbone as it is.
        backbone: Its name in torchvision or timm.
        n_classes: Number of classes.
        weights: See `make_backbone`.

    Raises:
        UserError: There is no such backbone, its weights cannot be loaded, or it has no convolution
            over images.
    """
    network = make_backbone(backbone, n_classes, weights)
    if model == "plain":
        return network
    front = _make_front(model)
    _widen_first_convolution(network, backbone, keep_output=bool(weights))
    if weights:
        _start_as_identity(front)
    return FrontedClassifier(front, network)


def _make_front(model: ClassificationModel) -> nn.Conv2d:
    if model == "conv":
        return nn.Conv2d(_RGB, FRONT_CHANNELS, 1)
    return COORD_LAYERS[_CONTROLS[model]](_RGB, FRONT_CHANNELS, 1, with_r=True)


@torch.no_grad()
def _widen_first_convolution(network: nn.Module, name: str, *, keep_output: bool) -> None:
    """Give the first convolution the input channels of the layer in front.

    The weights of the additional channels are zeros if the output is to be kept, and else random
    with the same standard deviation as the others.
    """
    found = [
        (place, layer)
        for place, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.in_channels == _RGB and layer.groups == 1
    ]
    if not found:
        raise UserError(f"--backbone {name} has no convolution over images; choose another.")
    place, conv = found[0]
    size = (conv.out_channels, FRONT_CHANNELS - _RGB, *conv.kernel_size)
    added = torch.zeros(size) if keep_output else torch.randn(size) * conv.weight.std()
    wide = copy.copy(conv)  # has the same class, such as timm's Conv2dSame
    wide.in_channels = FRONT_CHANNELS
    wide._parameters = dict(conv._parameters)
    wide.weight = nn.Parameter(torch.cat([conv.weight, added], dim=1))
    if keep_output:
        images = torch.rand((1, FRONT_CHANNELS, 32, 32), generator=torch.Generator().manual_seed(0))
        if not torch.allclose(wide(images), conv(images[:, :_RGB]), rtol=1e-3, atol=1e-4):
            raise UserError(
                f"--backbone {name} normalises the weights of its first convolution, so --weights"
                " cannot keep their output with a layer in front; choose another."
            )
    parent, _, attribute = place.rpartition(".")
    setattr(network.get_submodule(parent), attribute, wide)


@torch.no_grad()
def check_size(network: nn.Module, name: str, size: int) -> None:
    """Check that a classifier accepts images of a size.

    Args:
        network: The classifier, on the CPU.
        name: The name of its backbone.
        size: Height and width of the images, in pixels.

    Raises:
        UserError: The classifier cannot use such images.
    """
    was_training = network.training
    try:
        network.eval()(torch.zeros(1, _RGB, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"--backbone {name} cannot use images of --size {size}: {reason}."
        ) from None
    finally:
        network.train(was_training)


@torch.no_grad()
def _start_as_identity(front: nn.Conv2d) -> None:
    """Make the first three output channels equal the image.

    The other channels keep their random weights: the next layer ignores them at first, but would
    get no gradient for them if they were zero.
    """
    front.weight[:_RGB] = 0
    for channel in range(_RGB):
        front.weight[channel, channel] = 1
    assert front.bias is not None
    front.bias[:_RGB] = 0
