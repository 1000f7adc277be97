"""The interface of a supervised training's networks, optimisers and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from matplotlib.figure import Figure
from torch import Tensor, nn

from rl_coordconv.runs.checkpoint import State


class Learner(Protocol):
    """The part of a training that an experiment implements: networks, optimisers and data.

    An update may depend only on `state`, on the global random number generators and on the update's
    number, so that a resumed training equals an uninterrupted one, bit for bit on a CPU.

    With several processes (see `ranks`), each has a learner:

    - It trains on its share of each batch, such as ``indices[rank() :: world_size()]``. The shares
      must have equal sizes, because gradients are averaged over the processes.
    - It computes losses with ``distributed.wrap(model)``, which averages the gradients and gives
      all processes the initial weights of rank 0.
    - The global random number generators differ between processes. All their states are saved.
    - Only rank 0 calls `images`, `figures` and `state`, so these must not wait for other processes.
    """

    updates_per_epoch: int

    @property
    def model(self) -> nn.Module:
        """The network, or a ``ModuleDict`` of several; saved as ``final_weights.pt``."""

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch, or on this process's share of it.

        Args:
            number: Number of earlier updates, over all epochs.

        Returns:
            The losses by name, detached scalars averaged over the batch, and the batch size; of
            several processes, those of its share, which `fit` averages.
        """

    def evaluate(self, updates: int) -> Mapping[str, float]:
        """Return the metrics after a number of updates, such as ``{"test/accuracy": 0.5}``.

        All processes call this and have the same weights and buffers, so that they can divide the
        work and add up its results with ``distributed.total``. Rank 0's metrics are logged.
        """

    def images(self) -> Mapping[str, Tensor]:
        """Return images ``[3, H, W]`` in [0, 1] to show in TensorBoard at each evaluation."""

    def figures(self) -> Mapping[str, Figure | Tensor]:
        """Return the figures of the finished training, by file name.

        A tensor has the frames of an animation, ``[T, 3, H, W]`` in [0, 1].
        """

    def state(self) -> State:
        """Return the state to save in a checkpoint."""

    def restore(self, state: State) -> None:
        """Restore what `state` returned."""
