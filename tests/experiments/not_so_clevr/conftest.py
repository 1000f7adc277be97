import pytest
import torch


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for tensors this small, handing work over takes longest
    yield
    torch.set_num_threads(threads)
