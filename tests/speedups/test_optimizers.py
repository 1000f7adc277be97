import copy
import subprocess
import sys

import pytest
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch.optim import Adam

from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike

PAIRS = [
    (RMSpropTFLike, LightRMSpropTFLike, {"lr": 1e-2, "eps": 1e-5}),
    (RMSpropTFLike, LightRMSpropTFLike, {"lr": 1e-2, "momentum": 0.9, "centered": True}),
    (Adam, LightAdam, {"lr": 1e-2, "eps": 1e-5}),
    (Adam, LightAdam, {"lr": 1e-2, "weight_decay": 0.1, "amsgrad": True}),
    (Adam, LightAdam, {"lr": 1e-2, "foreach": True}),
]


def train(optimizer_class, settings, *, steps=5, state=None):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.rand(shape, generator=generator) for shape in ((3, 5), (7,))]
    weights = [weight.requires_grad_() for weight in weights]
    optimizer = optimizer_class(weights, **settings)
    if state is not None:
        optimizer.load_state_dict(state)
    for step in range(steps):
        optimizer.zero_grad()
        sum((weight - step).square().sum() for weight in weights).backward()
        optimizer.step()
    return weights, optimizer


@pytest.mark.parametrize(("heavy", "light", "settings"), PAIRS)
def test_takes_the_same_steps(heavy, light, settings):
    torch.testing.assert_close(train(heavy, settings)[0], train(light, settings)[0])


@pytest.mark.parametrize(("heavy", "light", "settings"), PAIRS)
def test_continues_from_the_state_of_the_original(heavy, light, settings):
    state = train(heavy, settings)[1].state_dict()
    expected = train(heavy, settings, state=copy.deepcopy(state))[0]
    torch.testing.assert_close(train(light, settings, state=state)[0], expected)


def test_a_state_of_a_gpu_does_not_make_an_optimiser_on_the_cpu_capturable():
    state = train(LightAdam, {"lr": 1e-2})[1].state_dict()
    state["param_groups"][0]["capturable"] = True
    optimizer = train(LightAdam, {"lr": 1e-2}, state=state)[1]
    assert not optimizer.param_groups[0]["capturable"]


@pytest.mark.parametrize(("heavy", "light", "settings"), [PAIRS[0], PAIRS[2]])
def test_takes_the_same_steps_with_a_tensor_as_learning_rate(heavy, light, settings):
    class Capturable(light):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.make_capturable(torch.device("cpu"))

    expected, reference = train(heavy, settings)
    weights, optimizer = train(Capturable, settings)
    torch.testing.assert_close(weights, expected)
    assert torch.is_tensor(optimizer.param_groups[0]["lr"])
    state = optimizer.state_dict()
    torch.testing.assert_close(
        train(light, settings, state=state)[0],
        train(heavy, settings, state=reference.state_dict())[0],
    )


def test_a_tensor_as_learning_rate_excludes_a_momentum():
    optimizer = LightRMSpropTFLike([torch.ones(1, requires_grad=True)], momentum=0.9)
    optimizer.make_capturable(torch.device("cpu"))
    with pytest.raises(ValueError, match="only lr, alpha and eps"):
        optimizer.step()


@pytest.mark.parametrize("rate", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_the_learning_rate_changes_in_place_and_stays_of_its_type_when_loaded(rate):
    weight = torch.ones(1, requires_grad=True)
    optimizer = LightAdam([weight], lr=rate)
    (group,) = optimizer.param_groups
    optimizer.set_learning_rate(0.5)
    assert float(group["lr"]) == 0.5
    assert (group["lr"] is rate) == torch.is_tensor(rate)
    weight.sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(0.5)  # Adam's first step is the learning rate
    for other in (0.2, torch.tensor(0.2)):
        saved = LightAdam([torch.ones(1, requires_grad=True)], lr=other).state_dict()
        optimizer.load_state_dict(saved)
        (group,) = optimizer.param_groups
        assert float(group["lr"]) == pytest.approx(0.2)
        assert torch.is_tensor(group["lr"]) == torch.is_tensor(rate)


def test_none_imports_the_compiler():
    program = """
import sys, torch
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
for optimizer_class in LightAdam, LightRMSpropTFLike:
    weight = torch.ones(3, requires_grad=True)
    optimizer = optimizer_class([weight], lr=0.1)
    optimizer.zero_grad()
    weight.sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    print("torch._dynamo" in sys.modules, bool(weight[0] < 1))
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "False True\n" * 2
