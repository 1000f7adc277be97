"""The order of training samples."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_coordconv.runs.checkpoint import derived_seed


class Batches:
    """Random batches of samples, which depend only on the seed and the update's number.

    So a resumed training sees the same batches as an uninterrupted one.

    Args:
        n_samples: Number of samples.
        batch_size: Samples per batch.
        seed: The run's seed.
        device: Device of the indices.
        drop_last: Leave out the last batch of an epoch if it is smaller than the others.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        drop_last: bool = False,
    ) -> None:
        self._n_samples, self._batch_size, self._seed = n_samples, batch_size, seed
        self._device = device
        self._epoch, self._order = -1, torch.empty(0)
        self.per_epoch = n_samples // batch_size if drop_last else -(-n_samples // batch_size)
        """Number of batches per epoch."""

    def indices(self, number: int) -> Tensor:
        """Return the indices of a batch's samples, ``[B]``; the first batch has number 0."""
        epoch, position = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            cpu = torch.device("cpu")
            generator = torch.Generator(cpu).manual_seed(derived_seed(self._seed, epoch))
            order = torch.randperm(self._n_samples, generator=generator, device=cpu)
            self._epoch, self._order = epoch, order.to(self._device)
        first = position * self._batch_size
        return self._order[first : first + self._batch_size]
