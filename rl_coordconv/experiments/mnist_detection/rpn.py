"""The paper's detection network, which proposes regions but does not classify them.

A cell of its output predicts, for each of its nine anchors, a move to an object and a score.
"""

from __future__ import annotations

from torch import Tensor, nn

from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.experiments.mnist_detection.boxes import ANCHOR_SIZES
from rl_coordconv.experiments.mnist_detection.names import RPNModel
from rl_coordconv.tf_layers import initialise, same_conv

_N_ANCHORS = len(ANCHOR_SIZES)


class ProposalNetwork(nn.Module):
    """The network of the authors' code, with weights drawn from torch's global generator.

    ``rpn-conv`` has 81,590 parameters; the other models, with two more channels in three of the
    convolutions, have 83,838. Initially, all moves are zero.

    Args:
        model: ``rpn-conv``, or another name for coordinates or what replaces them.
    """

    def __init__(self, model: RPNModel) -> None:
        super().__init__()
        coord_layer = _coord_layer(model)
        # Pooling before ReLU gives the same output as after it, and is faster.
        self.features = nn.Sequential(
            coord_layer(1, 32, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 5),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            *same_conv(64, 32, 3, coord_layer),
            nn.ReLU(inplace=True),
        )
        last = coord_layer(32, 4 * _N_ANCHORS, 1)
        self.mover = nn.Sequential(*same_conv(32, 32, 3), nn.ReLU(inplace=True), last)
        self.scorer = nn.Conv2d(32, 2 * _N_ANCHORS, 1)
        initialise(self)
        nn.init.zeros_(last.weight)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict moves and scores of the anchors.

        Args:
            images: Images in [0, 1], ``[B, 1, H, W]``.

        Returns:
            Moves ``[B, N, 4]`` for `boxes.apply_moves` and logits ``[B, N, 2]`` of object and
            background, where N counts the anchors of `grid_side` rows and columns of cells.
        """
        features = self.features(images)
        return _by_anchor(self.mover(features)), _by_anchor(self.scorer(features))


def grid_side(canvas: int) -> int:
    """Return the rows and columns of cells for images of this width and height, in pixels.

    >>> grid_side(64)
    13
    """
    return ((canvas - 4) // 2 - 4) // 2


def _coord_layer(model: str) -> type[nn.Conv2d]:
    if model == "rpn-conv":
        return nn.Conv2d
    control = model.removeprefix("rpn-")
    return COORD_LAYERS[None if control == "coordconv" else control]


def _by_anchor(x: Tensor) -> Tensor:
    """Convert a feature map ``[B, 9 K, R, C]`` to values of anchors, ``[B, R C 9, K]``."""
    batch, channels = x.shape[:2]
    return x.permute(0, 2, 3, 1).reshape(batch, -1, channels // _N_ANCHORS)
