"""The order of training samples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl_coordconv.runs.batches import Batches

CPU = torch.device("cpu")


@given(n=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_each_epoch_has_every_sample_once(n, size, seed):
    batches = Batches(n, size, seed, CPU)
    for epoch in range(2):
        numbers = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        indices = [batches.indices(number) for number in numbers]
        assert {len(batch) for batch in indices[:-1]} <= {size}
        assert sorted(torch.cat(indices).tolist()) == list(range(n))


def test_all_batches_are_whole_if_the_last_is_dropped():
    batches = Batches(11, 4, 0, CPU, drop_last=True)
    assert batches.per_epoch == 2
    assert [len(batches.indices(number)) for number in range(5)] == [4] * 5


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_batch_depends_on_its_number_only(drop_last):
    first, second = (Batches(50, 8, 3, CPU, drop_last=drop_last) for _ in range(2))
    wanted = [first.indices(number).tolist() for number in range(30)]
    assert [second.indices(number).tolist() for number in reversed(range(30))] == wanted[::-1]
    assert wanted[0] != wanted[first.per_epoch]  # a new order in each epoch
    assert Batches(50, 8, 4, CPU).indices(0).tolist() != wanted[0]
