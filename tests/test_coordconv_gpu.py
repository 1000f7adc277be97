"""The layers on a GPU: against the plain definition, in CUDA graphs and with torch.compile."""

from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from definition import plain_definition
from gymnasium import spaces
from torch import Tensor, nn

from rl_coordconv import CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d, convert
from rl_coordconv.extractors import find_extractor
from rl_coordconv.memory_format import memory_format_of

pytestmark = pytest.mark.gpu

# Relative to the largest value. Float32 convolutions compute in TF32, with a 10-bit mantissa.
ROUNDING = {
    torch.float64: 1e-10,
    torch.float32: 2e-3,
    torch.float16: 2e-3,
    torch.bfloat16: 1e-2,
}
DTYPES = pytest.mark.parametrize("dtype", ROUNDING, ids=str)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"padding": 1, "with_r": True},
    {"stride": 2, "padding": "valid", "bias": False},
    {"groups": 2, "padding": 2, "dilation": 2},
    {"padding": 1, "padding_mode": "circular"},
    {"padding": "same", "padding_mode": "reflect", "with_r": True},
    {"padding": 1, "padding_mode": "replicate", "groups": 4, "stride": 3},
]
TRANSPOSED: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1, "output_padding": 1, "with_r": True},
    {"groups": 2, "stride": 3, "bias": False},
    {"dilation": 2, "groups": 4},
]
LAYERS = [(make, one) for make in (CoordConv1d, CoordConv2d, CoordConv3d) for one in SETTINGS]
LAYERS += [(CoordConvTranspose2d, one) for one in TRANSPOSED]


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)


def assert_near(ours: Tensor, plain: Tensor, exact: Tensor | None = None) -> None:
    """Assert that the error is at most twice that of the plain definition in the same dtype."""
    assert ours.shape == plain.shape
    assert ours.dtype == plain.dtype
    exact = plain if exact is None else exact
    allowed = ROUNDING[ours.dtype] * exact.abs().max() + 2 * (plain - exact).abs().max()
    assert (ours - exact).abs().max() <= allowed


def passes(forward: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output, and the gradients of input and parameters."""
    out = forward(x)
    generator = torch.Generator(x.device).manual_seed(0)
    upstream = torch.randn(out.shape, generator=generator, device=x.device).to(out.dtype)
    return [out, *torch.autograd.grad(out, [x, *layer.parameters()], upstream)]


def check(layer: nn.Module, x: Tensor) -> None:
    """Compare output and gradients with the plain definition, twice because of the caches."""
    x.requires_grad_()
    plain = passes(lambda x: plain_definition(layer, x), layer, x)
    double = copy.deepcopy(layer).double()
    exact = passes(
        lambda x: plain_definition(double, x), double, x.detach().double().requires_grad_()
    )
    for _ in range(2):
        for ours, other, wanted in zip(passes(layer, layer, x), plain, exact, strict=True):
            assert_near(ours, other, wanted)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert_near(layer(x), plain[0], exact[0])


class TestLayer:
    @DTYPES
    @pytest.mark.parametrize("channels_last", [False, True])
    @pytest.mark.parametrize(("make", "settings"), LAYERS, ids=str)
    def test_equals_the_plain_definition(self, make, settings, channels_last, dtype, cuda):
        layer = make(8, 12, 3, device=cuda, dtype=dtype, **settings)
        size = (13, 9, 7)[: layer.axes]
        for batch in (1, 5):
            x = torch.randn(batch, 8, *size, device=cuda, dtype=dtype)
            if channels_last and layer.axes > 1:
                last = torch.channels_last if layer.axes == 2 else torch.channels_last_3d
                x, layer = x.contiguous(memory_format=last), layer.to(memory_format=last)
            check(layer, x)

    # The sizes of Atari and larger ones, for which the layer may use the positional map.
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("channels_last", [False, True])
    @pytest.mark.parametrize(
        ("shape", "geometry"),
        [
            ((1, 4, 84, 84), (32, 8, 4)),
            ((16, 4, 84, 84), (32, 8, 4)),
            ((256, 4, 84, 84), (32, 8, 4)),
            ((1024, 4, 84, 84), (32, 8, 4)),
            ((80, 32, 20, 20), (64, 4, 2)),
            ((16, 64, 56, 56), (64, 3, 1, 1)),
            ((64, 2, 64, 64), (32, 1)),
        ],
    )
    def test_equals_it_at_real_sizes(self, shape, geometry, channels_last, dtype, cuda):
        layer = CoordConv2d(shape[1], *geometry, device=cuda, dtype=dtype)
        x = torch.randn(shape, device=cuda, dtype=dtype)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        check(layer, x)
        assert memory_format_of(layer(x)) is memory_format_of(x)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("make", [CoordConv2d, CoordConvTranspose2d])
    def test_equals_it_under_autocast(self, make, dtype, cuda):
        layer, x = make(8, 12, 3, device=cuda), torch.randn(5, 8, 13, 9, device=cuda)
        x.requires_grad_()
        with torch.autocast(cuda.type, dtype):
            plain = passes(lambda x: plain_definition(layer, x), layer, x)
            ours = passes(layer, layer, x)
        assert ours[0].dtype == dtype
        for one, other in zip(ours, plain, strict=True):
            bound = ROUNDING[dtype] * other.abs().max()
            assert (one - other).abs().max() <= bound

    def test_moves_between_devices(self, cuda):
        layer, x = CoordConv2d(4, 6, 3), torch.randn(2, 4, 7, 9)
        for device in (cuda, "cpu", cuda):
            layer.to(device)
            for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                out = twin(x.to(device))
                assert out.device == x.to(device).device
                assert_near(out, plain_definition(twin, x.to(device)))

    def test_follows_every_change_of_its_weights(self, cuda):
        layer, x = CoordConv2d(4, 6, 3, device=cuda), torch.randn(2, 4, 7, 9, device=cuda)
        for _ in range(3):
            with torch.no_grad():
                before = layer(x)
                layer.weight.data[:, 4:] += 1  # as Stable-Baselines3 updates target networks
                assert_near(layer(x), plain_definition(layer, x))
                assert not layer(x).equal(before)

    def test_converted_networks_stay_on_their_device(self, cuda):
        network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)).to(cuda)
        x = torch.randn(2, 4, 16, 16, device=cuda)
        before = network(x)
        network = convert(network)
        assert {p.device.type for p in network.parameters()} == {cuda.type}
        assert_near(network(x), before)

    def test_memory_does_not_grow(self, cuda):
        if cuda.type != "cuda":
            pytest.skip("Memory is counted on a GPU only.")
        layer = CoordConv2d(4, 32, 8, 4, device=cuda)
        sizes = [(16, 84, 84), (80, 84, 84), (7, 60, 50), (256, 84, 84), (1, 96, 96)]
        gc.collect()  # garbage of earlier tests
        used = []
        for _ in range(6):
            for batch, *size in sizes:
                x = torch.randn(batch, 4, *size, device=cuda)
                layer(x).square().mean().backward()
                with torch.no_grad():
                    layer(x)
            torch.cuda.synchronize()
            used.append(torch.cuda.memory_allocated())
        assert max(used[2:]) <= used[1]


class TestCapturedStep:
    """A training step in a CUDA graph updates weights like an eager step."""

    @pytest.mark.parametrize("batch", [16, 512])
    @pytest.mark.parametrize("make", [CoordConv2d, CoordConvTranspose2d])
    def test_of_a_layer(self, make, batch, cuda, capture):
        layer, x = make(4, 8, 3, device=cuda), torch.randn(batch, 4, 42, 40, device=cuda)
        self._check(layer, x, capture)

    def test_with_cudnn_benchmark(self, cuda, capture, monkeypatch):
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        layer, x = CoordConv2d(4, 32, 8, 4, device=cuda), torch.rand(256, 4, 84, 84, device=cuda)
        self._check(layer, x, capture)

    @pytest.mark.parametrize("name", ["coordconv", "coordconv-all", "coordconv-r", "nature-noise"])
    def test_of_an_extractor(self, name, cuda, capture):
        x = torch.rand(16, 4, 84, 84, device=cuda)
        self._check(extractor(name, cuda), x, capture)

    @staticmethod
    def _check(network: nn.Module, x: Tensor, capture: Callable) -> None:
        twin = copy.deepcopy(network)

        def step_of(network: nn.Module) -> Callable[[], None]:
            parameters = [*network.parameters()]

            def step() -> None:
                loss = network(x).square().mean()
                gradients = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, gradient in zip(parameters, gradients, strict=True):
                        parameter.sub_(gradient, alpha=0.01)

            return step

        start = [p.detach().clone() for p in network.parameters()]
        captured, eager = capture(step_of(network)), step_of(twin)
        with torch.no_grad():
            for one, value in zip(network.parameters(), start, strict=True):
                one.copy_(value)
        for i in range(10):
            x.copy_(torch.rand_like(x))
            captured()
            eager()
            # Eager calls with other sizes must not affect the graph.
            getattr(network, "cnn", network)(x[: i + 1, ..., :36])
        for one, other, value in zip(network.parameters(), twin.parameters(), start, strict=True):
            assert (one - other).norm() < 0.02 * (other - value).norm()


def extractor(name: str, device: torch.device) -> nn.Module:
    make, settings = find_extractor(name)
    images = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    return make(images, **settings).to(device)


# Inductor suggests TF32 for matrix products, and imports modules that torch 2.11 deprecates.
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # from mode="reduce-overhead"
class TestCompile:
    @pytest.fixture(autouse=True)
    def _fresh_compiler(self):
        torch.compiler.reset()
        yield
        torch.compiler.reset()

    @pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
    @pytest.mark.parametrize("make", [CoordConv2d, CoordConvTranspose2d])
    def test_trains_a_layer_as_it_is(self, make, mode, cuda):
        layer, x = make(4, 8, 3, device=cuda), torch.rand(16, 4, 20, 24, device=cuda)
        self._check(layer, x, mode, cuda)

    @pytest.mark.parametrize(
        ("name", "mode"), [("coordconv", "reduce-overhead"), ("coordconv-all", "default")]
    )
    def test_trains_an_extractor_as_it_is(self, name, mode, cuda):
        x = torch.rand(16, 4, 84, 84, device=cuda)
        self._check(extractor(name, cuda), x, mode, cuda)

    @staticmethod
    def _check(network: nn.Module, x: Tensor, mode: str, cuda: torch.device) -> None:
        """Train, with eager calls and calls with other sizes in between."""
        twin = copy.deepcopy(network)
        start = [p.detach().clone() for p in network.parameters()]
        how = {"mode": mode} if cuda.type == "cuda" else {"backend": "aot_eager"}
        compiled = torch.compile(network, **how)
        optimizers = [torch.optim.SGD(one.parameters(), lr=0.01) for one in (network, twin)]
        for _ in range(6):
            images = torch.rand_like(x)
            with torch.no_grad():
                network(images)
                network(images[:3])
            torch.compiler.cudagraph_mark_step_begin()
            for forward, optimizer in zip((compiled, twin), optimizers, strict=True):
                optimizer.zero_grad()
                forward(images).square().mean().backward()
                optimizer.step()
        for one, other, value in zip(network.parameters(), twin.parameters(), start, strict=True):
            assert (one - other).norm() < 0.02 * (other - value).norm()
        with torch.no_grad():
            assert_near(compiled(images), twin(images))
