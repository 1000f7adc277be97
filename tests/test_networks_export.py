"""Test image networks, including the noise control, in tracers, compilers and exporters."""

import io

import onnxruntime
import pytest
import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close

from rl_coordconv.extractors import EXTRACTORS
from rl_coordconv.networks import build_network

SHAPE = (4, 36, 36)


def trace(network: nn.Module, images: torch.Tensor) -> nn.Module:
    return torch.jit.trace(network, images, check_trace=False)


@pytest.mark.filterwarnings("ignore")  # warnings: torch.jit is deprecated, sizes become constants
class TestTracedNetwork:
    @pytest.mark.parametrize("name", EXTRACTORS)
    def test_torch_fx_traces_every_network(self, name):
        network, images = build_network(name, SHAPE), torch.rand(2, *SHAPE)
        traced = fx.symbolic_trace(network)
        for _ in range(2):
            assert_close(traced(images), network(images))

    @pytest.mark.parametrize(
        "record",
        [
            trace,
            lambda network, x: make_fx(network)(x),
            lambda network, x: torch.export.export(network, (x,)).module(),
        ],
        ids=["jit", "make_fx", "export"],
    )
    def test_noise_is_the_same_at_every_call(self, record):
        network, images = build_network("nature-noise", SHAPE), torch.rand(2, *SHAPE)
        recorded = record(network, images)
        for _ in range(2):
            assert_close(recorded(images), network(images))

    @pytest.mark.parametrize("name", EXTRACTORS)
    def test_onnx_exports_every_network(self, name):
        network, images, file = build_network(name, SHAPE), torch.rand(2, *SHAPE), io.BytesIO()
        torch.onnx.export(network, (images,), file, dynamo=False, input_names=["images"])
        session = onnxruntime.InferenceSession(file.getvalue())
        (features,) = session.run(None, {"images": images.numpy()})
        assert_close(torch.from_numpy(features), network(images))


def test_noise_equals_that_of_a_torch_generator():
    noise = (
        build_network("nature-noise", SHAPE)
        .cnn[0]
        .make_coordinates((5, 7), device=torch.device("cpu"), dtype=torch.float32)
    )
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(noise, torch.rand(2, 5, 7, generator=generator) * 2 - 1)
