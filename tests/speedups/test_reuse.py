import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rl_coordconv import CoordConv2d
from rl_coordconv.controls import COORD_LAYERS
from rl_coordconv.speedups.optimizers import LightAdam
from rl_coordconv.speedups.reuse import RecordedForward

N_STEPS, BATCH = 3, 4


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(
        CoordConv2d(2, 8, 3, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, dilation=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 2 * 2, 5),
        nn.ReLU(),
        nn.Linear(5, 3, bias=False),
    )


@pytest.fixture
def images():
    return torch.rand(N_STEPS, BATCH, 2, 12, 12, generator=torch.Generator().manual_seed(0))


class Counted(nn.Module):
    """A network that counts the layers that a forward pass computes."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.computed = 0

    def forward(self, images):
        with CountLayers() as layers:
            result = self.network(images)
        self.computed = layers.count
        return result


class CountLayers(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts convolutions and matrix products of whole batches in forward passes."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        computes = {aten.convolution.default: 0, aten.addmm.default: 1, aten.mm.default: 0}
        if func in computes and len(args[computes[func]]) >= BATCH:
            self.count += 1
        return func(*args, **(kwargs or {}))


def gradients(network, result):
    upstream = torch.linspace(-1, 1, result.numel()).view_as(result)
    return torch.autograd.grad(result, list(network.parameters()), upstream)


def recorded(network, images):
    recording = RecordedForward(network, N_STEPS)
    with torch.no_grad():
        for step in images:
            torch.testing.assert_close(recording.record(network, step), network.network(step))
    return recording


def check_gradients(module, network, images):
    """Check that a replayed rollout has the same output and gradients as a computed one."""
    recording = RecordedForward(module, len(images))
    with torch.no_grad():
        for step in images:
            recording.record(network, step)
    whole = images.flatten(0, 1)
    result, expected = recording.replay(network, whole), network(whole)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(gradients(module, result), gradients(module, expected))


def check(network, recording, images, *, layers):
    """Check the output and gradients of a replay, and how many layers it computed."""
    result = recording.replay(network, images)
    assert network.computed == layers
    expected = network.network(images)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(gradients(network, result), gradients(network, expected))


def test_gradients_need_no_second_forward_pass(images):
    network = Counted(make_network())
    recording = recorded(network, images)
    check(network, recording, images.flatten(0, 1), layers=0)


def test_records_one_rollout_after_the_other(images):
    network = Counted(make_network())
    recording = RecordedForward(network, N_STEPS)
    for rollout in (images, images + 1, images * 2):
        with torch.no_grad():
            for step in rollout:
                recording.record(network, step)
        check(network, recording, rollout.flatten(0, 1), layers=0)


def test_a_recording_is_used_once(images):
    network = Counted(make_network())
    recording = recorded(network, images)
    recording.replay(network, images.flatten(0, 1))
    check(network, recording, images.flatten(0, 1), layers=4)


@pytest.mark.parametrize("steps", [1, 2])
def test_an_unfinished_rollout_is_computed(images, steps):
    network = Counted(make_network())
    recording = recorded(network, images[:steps])
    check(network, recording, images.flatten(0, 1), layers=4)


def test_other_images_are_computed(images):
    network = Counted(make_network())
    for others in (images.flip(0), images[:2], images + 1e-3):
        recording = recorded(network, images)
        check(network, recording, others.flatten(0, 1), layers=4)


def test_images_changed_in_place_are_computed(images):
    network = Counted(make_network())
    played = images.clone()
    recording = recorded(network, played)
    played[1] += 1
    check(network, recording, images.flatten(0, 1), layers=4)


def test_other_weights_are_computed(images):
    network = Counted(make_network())
    recording = recorded(network, images)
    with torch.no_grad():
        network.network[0].weight += 1
    check(network, recording, images.flatten(0, 1), layers=4)


def test_new_weights_start_a_new_rollout(images):
    network = Counted(make_network())
    recording = recorded(network, images[:2])
    with torch.no_grad():
        network.network[2].weight *= 2
        for step in images:
            recording.record(network, step)
    check(network, recording, images.flatten(0, 1), layers=0)


def test_an_output_that_was_overwritten_is_computed(images):
    network = make_network()
    network[3] = nn.ReLU(inplace=True)
    network = Counted(network)
    recording = recorded(network, images)
    check(network, recording, images.flatten(0, 1), layers=4)


def test_an_in_place_sum_with_another_tensor_is_reused(images):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            double = x * 2
            return double.add_(self.conv(x))

    network = Counted(Residual())
    recording = recorded(network, images)
    check(network, recording, images.flatten(0, 1), layers=0)


def test_under_autocast_gradients_are_those_of_autocast(images):
    network = make_network()

    def in_bf16(x):
        with torch.autocast("cpu", torch.bfloat16):
            return network(x)

    recording = RecordedForward(network, N_STEPS)
    with torch.no_grad():
        for step in images:
            recording.record(in_bf16, step)
    whole = images.flatten(0, 1)
    known, expected = recording.replay(in_bf16, whole), in_bf16(whole)
    assert known.dtype == torch.bfloat16
    torch.testing.assert_close(known, expected)
    for ours, theirs in zip(gradients(network, known), gradients(network, expected), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)


class Adds(nn.Module):
    """A convolution with a learnt image that is added to its output in place."""

    def __init__(self, way):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.image = nn.Parameter(torch.rand(2, 12, 12))
        self.way = way

    def forward(self, x):
        out = self.conv(x)
        if self.way == "as a statement":
            out.add_(self.image)
            return out
        if self.way == "of a part of it":
            return out.add_(self.image, alpha=0.5)
        if self.way == "of a number":
            return out.add_(1.0) * self.image
        before = out.relu()  # sees the output without the sum
        return out.add_(self.image) + before


@pytest.mark.parametrize(
    "way", ["as a statement", "of a part of it", "of a number", "after a look"]
)
def test_an_output_changed_by_an_in_place_sum_is_computed(images, way):
    network = Counted(Adds(way))
    check(network, recorded(network, images), images.flatten(0, 1), layers=1)


@pytest.mark.parametrize("control", [None, "zeros", "noise"])
@pytest.mark.parametrize("with_r", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_every_kind_of_coordconv_layer_is_replayed(images, control, with_r, bias):
    layer = COORD_LAYERS[control](2, 4, 3, padding=1, groups=2, bias=bias, with_r=with_r)
    network = Counted(nn.Sequential(layer, nn.ReLU(), nn.Conv2d(4, 2, 1)))
    check(network, recorded(network, images), images.flatten(0, 1), layers=0)


def test_a_layer_that_is_used_twice_has_two_outputs(images):
    conv = nn.Conv2d(2, 2, 3, padding=1)
    network = Counted(nn.Sequential(conv, nn.ReLU(), conv))
    check(network, recorded(network, images), images.flatten(0, 1), layers=0)


def test_the_forward_of_the_layers_is_restored(images):
    network = Counted(make_network())
    recording = recorded(network, images)
    recording.replay(network, images.flatten(0, 1))
    assert all("forward" not in vars(layer) for layer in network.modules())
    assert not any(layer._forward_hooks for layer in network.modules())


def test_a_single_image_is_replayed():
    images = torch.rand(N_STEPS, 1, 2, 12, 12)
    for n_steps in (1, N_STEPS):
        network = make_network()
        check_gradients(network, network, images[:n_steps])


def test_functional_calls_are_computed(images):
    linear, conv = nn.Linear(12, 3), nn.Conv2d(2, 2, 3)
    holder = nn.ModuleList([linear, conv])

    def network(x):
        return linear(x).sum() + F.conv2d(input=x, weight=conv.weight, bias=conv.bias).square()

    check_gradients(holder, network, images)


@pytest.mark.parametrize("change", ["buffer", "storage", "fused step"])
def test_any_change_of_weights_or_buffers_is_noticed(images, change):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3)
            self.register_buffer("noise", torch.zeros(2, 2, 3, 3))

        def forward(self, x):
            return F.conv2d(x, self.conv.weight + self.noise, self.conv.bias)

    network = Counted(Noisy())
    optimizer = LightAdam(network.parameters())
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    recording = recorded(network, images)
    with torch.no_grad():
        if change == "buffer":
            network.network.noise += 1
        elif change == "storage":
            vector = parameters_to_vector(network.parameters())
            vector_to_parameters(vector + 1, network.parameters())
        else:
            optimizer.step()
    check(network, recording, images.flatten(0, 1), layers=1)


@pytest.mark.parametrize(
    "layer", [nn.Dropout(), nn.BatchNorm2d(2), nn.InstanceNorm2d(2), nn.RReLU()]
)
def test_a_layer_that_behaves_differently_in_training_is_an_error(layer):
    with pytest.raises(ValueError, match=f"{type(layer).__name__} behaves differently"):
        RecordedForward(nn.Sequential(layer), N_STEPS)


@pytest.mark.parametrize(
    ("settings", "computed"),
    [
        ({"stride": 2, "padding": 1}, 0),
        ({"stride": (2, 1), "padding": (0, 1), "dilation": 2}, 0),
        ({"padding": "same"}, 1),
        ({"padding": 1, "padding_mode": "reflect"}, 1),
    ],
)
def test_a_convolution_may_have_any_settings(images, settings, computed):
    network = Counted(nn.Sequential(nn.Conv2d(2, 3, 3, **settings)))
    check(network, recorded(network, images), images.flatten(0, 1), layers=computed)
