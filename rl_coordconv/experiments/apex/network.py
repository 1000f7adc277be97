"""The dueling network: an image network of this package, then two streams."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rl_coordconv.names import Precision
from rl_coordconv.networks import build_network


class DuelingHead(nn.Module):
    """The two streams of Wang et al. 2016, equation 9: Q = V + A - mean(A).

    Args:
        features_dim: Number of input features.
        n_actions: Number of actions.
        hidden: Units of the hidden layer of each stream.
    """

    def __init__(self, features_dim: int, n_actions: int, hidden: int) -> None:
        super().__init__()
        self.value = _stream(features_dim, hidden, 1)
        self.advantage = _stream(features_dim, hidden, n_actions)

    def forward(self, features: Tensor) -> Tensor:
        """Compute Q-values ``[B, n_actions]`` of features ``[B, features_dim]``."""
        advantage: Tensor = self.advantage(features)
        value: Tensor = self.value(features)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


class DuelingNetwork(nn.Module):
    """An image network and a `DuelingHead`.

    Args:
        extractor: A name of an extractor, such as ``coordconv``.
        input_shape: ``(C, H, W)``.
        n_actions: Number of actions.
        hidden: As for `DuelingHead`.
        precision: Of the image network, see `networks.ImageNetwork`.
    """

    def __init__(
        self,
        extractor: str,
        input_shape: Sequence[int],
        n_actions: int,
        hidden: int,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.features = build_network(extractor, input_shape, precision=precision)
        self.head = DuelingHead(self.features.features_dim, n_actions, hidden)

    def forward(self, images: Tensor) -> Tensor:
        """Compute Q-values ``[B, n_actions]`` of images ``[B, C, H, W]`` from 0 to 255."""
        q_values: Tensor = self.head(self.features(images.to(torch.float32) / 255))
        return q_values


def _stream(features_dim: int, hidden: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features_dim, hidden), nn.ReLU(), nn.Linear(hidden, n_outputs))
