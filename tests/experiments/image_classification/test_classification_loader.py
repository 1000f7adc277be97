"""Test that batches depend on the seed and the update's number only."""

import multiprocessing
import os
import signal
from itertools import islice

import pytest
import torch
from classification_pictures import make_tree

from rl_coordconv.experiments.image_classification.datasets import read_splits
from rl_coordconv.experiments.image_classification.loader import (
    _AUGMENTATION,
    evaluation_batches,
    training_batches,
    updates_per_epoch,
)
from rl_coordconv.runs.batches import Batches
from rl_coordconv.runs.checkpoint import derived_seed
from rl_coordconv.runs.config import UserError

SEED = 7


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Return a folder with 10 pictures for training and 10 for validation."""
    return make_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture
def data(tree):
    return read_splits(str(tree), 16)


def take(dataset, batch_size, number, first=0, workers=0, rank=0, world_size=1):
    batches = training_batches(dataset, batch_size, SEED, first, workers, rank, world_size)
    return list(islice(batches, number))


def assert_equal(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.images.equal(other.images)
        assert one.labels.equal(other.labels)


def test_batches_are_those_of_the_order_with_augmentation_by_epoch_and_index(data):
    order = Batches(10, 4, SEED, torch.device("cpu"), drop_last=True)
    assert updates_per_epoch(data.train, 4) == 2
    for number, batch in enumerate(take(data.train, 4, 5)):
        indices = order.indices(number).tolist()
        samples = [
            data.train[k, derived_seed(SEED, _AUGMENTATION, number // 2, k)] for k in indices
        ]
        assert batch.images.equal(torch.stack([sample.image for sample in samples]))
        assert batch.labels.tolist() == [sample.label for sample in samples]
        assert batch.labels.dtype == torch.int64


@pytest.mark.parametrize("source", ["folder", "bars"])
def test_a_resumed_training_sees_the_same_batches(source, data):
    train = data.train if source == "folder" else read_splits("bars", 16).train
    all_batches = take(train, 3, 8)
    for first in (1, 3, 5):
        assert_equal(take(train, 3, 8 - first, first), all_batches[first:])


def test_the_parts_of_all_ranks_are_the_batch(data):
    batches = take(data.train, 5, 3)
    parts = [take(data.train, 5, 3, rank=rank, world_size=3) for rank in range(3)]
    for number, batch in enumerate(batches):
        for rank in range(3):
            part = parts[rank][number]
            assert part.images.equal(batch.images[rank::3])
            assert part.labels.equal(batch.labels[rank::3])


@pytest.mark.slow
def test_workers_change_nothing_and_end_with_the_iterator(data):
    """Workers also survive signals that are meant for the training."""
    wanted = take(data.train, 3, 7)
    others = set(multiprocessing.active_children())
    batches = training_batches(data.train, 3, SEED, 1, workers=1)
    found = [next(batches)]
    workers = set(multiprocessing.active_children()) - others
    assert len(workers) == 1
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
        os.kill(worker.pid, signal.SIGTERM)
    found += islice(batches, 5)
    del batches
    assert set(multiprocessing.active_children()) <= others
    assert_equal(found, wanted[1:])


@pytest.mark.slow  # starts processes
def test_workers_serve_several_evaluations(data):
    wanted = list(evaluation_batches(data.val, 4, 0))
    others = set(multiprocessing.active_children())
    batches = evaluation_batches(data.val, 4, 2)
    assert_equal(list(batches), wanted)
    assert_equal(list(batches), wanted)
    assert len(set(multiprocessing.active_children()) - others) == 2


@pytest.mark.parametrize("world_size", [1, 3, 7])
def test_every_image_is_evaluated_once(world_size, data):
    ranks = [evaluation_batches(data.val, 4, 0, rank, world_size) for rank in range(world_size)]
    images = [batch.images for rank in ranks for batch in rank]
    wanted = [data.val[k, 0].image for k in range(10)]
    if world_size == 1:
        assert [len(batch) for batch in images] == [4, 4, 2]
        assert torch.cat(images).equal(torch.stack(wanted))
    key = [image.numpy().tobytes() for batch in images for image in batch]
    assert sorted(key) == sorted(image.numpy().tobytes() for image in wanted)


def test_the_global_generator_is_not_used(data):
    before = torch.get_rng_state()
    take(data.train, 3, 2)
    list(evaluation_batches(data.val, 4, 0))
    assert torch.get_rng_state().equal(before)


def test_unreadable_pictures_are_left_out(tmp_path, capsys):
    make_tree(tmp_path)
    for part in ("train", "val"):
        (tmp_path / part / "cat" / "0.png").write_text("not a picture")
    data = read_splits(str(tmp_path), 16)
    sizes = [len(batch.labels) for batch in take(data.train, 5, 6)]
    assert sorted(sizes) == [4, 4, 4, 5, 5, 5]
    batches = evaluation_batches(data.val, 1, 0)
    assert [batch.labels.tolist() for batch in batches] == [[0]] * 4 + [[1]] * 5
    assert len(list(batches)) == 9
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path / part / 'cat' / '0.png'} cannot be read and is skipped."
        for part in ("train", "val")
    ]


def test_data_that_cannot_be_used_are_one_sentence(tmp_path):
    make_tree(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_text("not a picture")
    data = read_splits(str(tmp_path), 16)
    with pytest.raises(UserError) as few:
        training_batches(data.train, 11, SEED, 0, 0)
    assert str(few.value) == (
        f"{tmp_path}/train has 10 pictures, fewer than a batch of 11; "
        "choose a smaller --batch-size."
    )
    with pytest.raises(UserError) as batch:
        take(data.train, 5, 1)
    assert str(batch.value) == (
        f"No picture of a batch of {tmp_path}/train can be read; check its files."
    )
    assert list(evaluation_batches(data.val, 4, 0)) == []
