"""Replaying a training step as one CUDA graph."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rl_coordconv.runs.capture import Captured


class Training:
    """A small network, its optimiser, and a step that counts its calls."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 1)
        self.network = nn.Sequential(*layers).to(device)
        on_gpu = device.type == "cuda"
        self.optimizer = torch.optim.Adam(self.network.parameters(), 0.01, capturable=on_gpu)
        self.calls = 0

    def step(self, images, noise):
        self.calls += 1
        loss = (self.network(images + noise) - 1).square().mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}


def batches(device, sizes):
    torch.manual_seed(1)
    return [(torch.rand(n, 3, 6, 6, device=device), torch.rand((), device=device)) for n in sizes]


def losses(step, inputs):
    return [step(*each)["loss"].item() for each in inputs]


def test_on_a_cpu_each_call_is_a_normal_call():
    training, reference = Training(torch.device("cpu")), Training(torch.device("cpu"))
    inputs = batches("cpu", [4] * 5 + [3])
    assert losses(Captured(training.step), inputs) == losses(reference.step, inputs)
    assert training.calls == 6


@pytest.mark.gpu
def test_replayed_steps_equal_eager_ones(cuda, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    training, reference = Training(cuda), Training(cuda)
    inputs = batches(cuda, [4] * 8 + [3] + [4] * 3)  # one batch is smaller than those captured
    assert_close(losses(Captured(training.step), inputs), losses(reference.step, inputs))
    assert_close(training.network.state_dict(), reference.network.state_dict())
    if cuda.type == "cuda":
        assert training.calls == 3 + 1 + 1  # eager, the capture, the smaller batch


@pytest.mark.gpu
def test_a_restored_training_goes_on_as_the_captured_one(cuda):
    """A checkpoint of a captured training continues in a new process, which captures again."""
    inputs = batches(cuda, [4] * 12)
    training = Training(cuda)
    step = Captured(training.step)
    losses(step, inputs[:6])
    state = copy.deepcopy([training.network.state_dict(), training.optimizer.state_dict()])
    wanted = losses(step, inputs[6:])
    resumed = Training(cuda)
    resumed.network.load_state_dict(state[0])
    resumed.optimizer.load_state_dict(state[1])
    assert_close(losses(Captured(resumed.step), inputs[6:]), wanted, rtol=1e-3, atol=1e-4)
