"""Batches for training and evaluation, read by worker processes.

Batches depend on the seed and on the update's number only, not on the workers. Over the ranks of a
distributed training, they are the parts of one global batch.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from rl_coordconv.experiments.image_classification.datasets import Key, LabelledImages, Sample
from rl_coordconv.runs.batches import Batches
from rl_coordconv.runs.checkpoint import derived_seed
from rl_coordconv.runs.config import UserError

# Number of the stream of random crops; those of `Batches` are the numbers of epochs.
_AUGMENTATION = 2**20 + 1
_GRACE = 10  # seconds from SIGTERM to the end of a worker


class Batch(NamedTuple):
    """The readable images of a batch, with their classes."""

    images: Tensor
    """uint8 ``[B, 3, H, W]``; see `transforms.Normalise`."""
    labels: Tensor
    """Indices of classes, int64 ``[B]``."""


def updates_per_epoch(dataset: LabelledImages, batch_size: int) -> int:
    """Return the number of whole batches in the data.

    Args:
        dataset: The data.
        batch_size: Images per batch, over all ranks.

    Raises:
        UserError: There are fewer images than in a batch.
    """
    if len(dataset) < batch_size:
        raise UserError(
            f"{dataset.name} has {len(dataset)} pictures, fewer than a batch of {batch_size}; "
            "choose a smaller --batch-size."
        )
    return len(dataset) // batch_size


def training_batches(
    dataset: LabelledImages,
    batch_size: int,
    seed: int,
    first: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    *,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Return an endless iterator over a rank's part of the batches, in a new order in each epoch.

    The workers end when the iterator is deleted. Global random number generators are not used.

    Args:
        dataset: The data.
        batch_size: Images per batch, over all ranks.
        seed: The run's seed.
        first: Number of the first batch: the number of earlier updates.
        workers: Number of processes that read files; 0 reads them in this process. Data in memory
            need none.
        rank: This process, from 0; it gets every ``world_size``-th image of a batch.
        world_size: Number of processes that train.
        pin_memory: Copy batches to page-locked memory, for copies to a GPU that do not block.

    Raises:
        UserError: There are fewer images than in a batch, or later, none of this part of a batch
            can be read.
    """
    per_epoch = updates_per_epoch(dataset, batch_size)
    order = Batches(len(dataset), batch_size, seed, torch.device("cpu"), drop_last=True)

    def keys() -> Iterator[list[Key]]:
        for number in itertools.count(first):
            epoch = number // per_epoch
            indices = order.indices(number)[rank::world_size].tolist()
            yield [(index, derived_seed(seed, _AUGMENTATION, epoch, index)) for index in indices]

    loader = _loader(dataset, keys(), workers, pin_memory)
    return _train(loader, dataset, first, per_epoch)


def _train(
    loader: Iterable[_Loaded], dataset: LabelledImages, first: int, per_epoch: int
) -> Iterator[Batch]:
    for number, loaded in enumerate(loader, start=first):
        dataset.report(loaded.unreadable)
        if (number + 1) % per_epoch == 0:
            dataset.report_total()
        if not len(loaded.labels):
            raise UserError(
                f"No picture of a batch of {dataset.name} can be read; check its files."
            )
        yield Batch(loaded.images, loaded.labels)


def evaluation_batches(
    dataset: LabelledImages,
    batch_size: int,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    *,
    pin_memory: bool = False,
) -> Iterable[Batch]:
    """Return batches with every image once over all ranks, in order.

    They can be iterated over several times, with the same workers. A batch without a readable
    picture is skipped.

    Args:
        dataset: The data.
        batch_size: Images per batch, over all ranks.
        workers: Number of processes that read files; see `training_batches`.
        rank: This process, from 0; it gets every ``world_size``-th image of a batch.
        world_size: Number of processes that evaluate.
        pin_memory: Copy batches to page-locked memory.
    """
    keys = [(index, 0) for index in range(len(dataset))]  # nothing is random
    batches = [keys[first : first + batch_size] for first in range(0, len(keys), batch_size)]
    own = [batch[rank::world_size] for batch in batches if len(batch) > rank]
    return _Evaluation(_loader(dataset, own, workers, pin_memory), dataset)


class _Evaluation:
    def __init__(self, loader: Iterable[_Loaded], dataset: LabelledImages) -> None:
        self._loader, self._dataset = loader, dataset

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loader:
            self._dataset.report(loaded.unreadable)
            if len(loaded.labels):
                yield Batch(loaded.images, loaded.labels)
        self._dataset.report_total()


def _loader(
    dataset: LabelledImages, keys: Iterable[list[Key]], workers: int, pin_memory: bool
) -> Iterable[_Loaded]:
    workers = workers if dataset.reads_files else 0
    return DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        worker_init_fn=_survive_signals,
        # A forked process cannot use CUDA, and may inherit a lock that a thread holds.
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # else it draws a number from the global one
    )


def _survive_signals(_worker: int) -> None:
    """Ignore SIGINT, and end some seconds after SIGTERM, so that the training can save and stop.

    A terminal and a cluster send signals to all processes of a training, which ends its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):  # not on Windows
        # torch's worker ends without an error at a KeyboardInterrupt.
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda _number, _frame: signal.alarm(_GRACE))


class _Loaded(NamedTuple):
    """A batch as sent by a worker."""

    images: Tensor
    labels: Tensor
    unreadable: list[int]
    """Indices of samples."""


def _collate(samples: list[Sample]) -> _Loaded:
    images = [sample.image for sample in samples if sample.image is not None]
    labels = [sample.label for sample in samples if sample.image is not None]
    unreadable = [sample.index for sample in samples if sample.image is None]
    stacked = torch.stack(images) if images else torch.empty(0, dtype=torch.uint8)
    return _Loaded(stacked, torch.tensor(labels, dtype=torch.int64), unreadable)
