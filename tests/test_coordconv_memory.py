"""Without gradients a layer remembers its positional map; here is all that must make it forget."""

import copy
import pickle
import weakref

import pytest
import torch
from definition import plain_definition
from stable_baselines3.common.utils import polyak_update
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv2d, CoordConvTranspose2d


def step(layer, x):
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    with torch.enable_grad():
        layer(x).square().sum().backward()
    optimiser.step()


def load(layer, x):
    layer.load_state_dict(CoordConv2d(4, 6, 3, padding=1).state_dict())


def polyak(layer, x):
    """Stable-Baselines3's update of a target network; it writes through ``.data``."""
    online = CoordConv2d(4, 6, 3, padding=1)
    polyak_update(online.parameters(), layer.parameters(), tau=0.5)


def write_data(layer, x):
    layer.weight.data[:, 4:] += 1


def change_bias(layer, x):
    layer.bias.data += 1


def new_weight(layer, x):
    layer.weight = nn.Parameter(torch.rand_like(layer.weight))


def to_double(layer, x):
    layer.double()
    return x.double()


def other_size(layer, x):
    """A map kept from the first call only would not even fit."""
    return x[:, :, :4]


def transposed_size(layer, x):
    return x.transpose(2, 3)


def other_format(layer, x):
    return x.contiguous(memory_format=torch.channels_last)


def unbatched(layer, x):
    return x[0]


def setting(name, value):
    def change(layer, x):
        setattr(layer, name, value)

    change.__name__ = f"{name}={value}"
    return change


CHANGES = [
    *(step, load, polyak, write_data, change_bias, new_weight),
    *(to_double, other_size, transposed_size, other_format, unbatched),
    *(setting("dilation", (2, 2)), setting("padding", (2, 0)), setting("padding", "valid")),
    *(setting("stride", (2, 1)), setting("padding_mode", "circular")),
]


class TestRememberedMap:
    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_is_forgotten_after(self, change, mode):
        layer, x = CoordConv2d(4, 6, 3, padding=1), torch.rand(2, 4, 7, 9)
        with mode():
            layer(x)
            before = layer(x)
        with torch.no_grad():
            changed = change(layer, x)
        x = x if changed is None else changed
        with mode():
            out = layer(x)
            assert_close(out, plain_definition(layer, x))
            assert_close(layer(x), out)
        assert (
            out.shape != before.shape
            or out.dtype != before.dtype
            or not out.equal(before)
            or (change is other_format)
        )

    def test_is_forgotten_when_autocast_changes(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        with torch.no_grad():
            for dtype in (None, torch.bfloat16, torch.float16, None, torch.bfloat16):
                with torch.autocast("cpu", dtype, enabled=dtype is not None):
                    expected = copy.deepcopy(layer)(x)
                    assert layer(x).dtype == (dtype or torch.float32)
                    assert layer(x).equal(expected)
            with torch.autocast("cpu", torch.bfloat16):
                layer.bfloat16()  # the input and autocast stay, the weight changes type
                assert layer(x).equal(copy.deepcopy(layer)(x))

    def test_is_forgotten_when_the_output_size_changes(self):
        layer, x = CoordConvTranspose2d(4, 6, 3, stride=2), torch.rand(2, 4, 5, 7)
        with torch.no_grad():
            for size in ([11, 15], [12, 16], [11, 15]):
                assert_close(layer(x, size), plain_definition(layer, x, output_size=size))

    def test_of_inference_mode_serves_no_later_training(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        with torch.inference_mode():
            layer(x)
        with torch.no_grad():
            layer(x)
        layer(x).square().sum().backward()
        with torch.no_grad():
            assert_close(layer(x), plain_definition(layer, x))

    def test_is_not_computed_twice(self):
        class Counting(CoordConv2d):
            convolutions = 0

            def _conv_forward(self, *args):
                self.convolutions += 1
                return super()._conv_forward(*args)

        layer, x = Counting(4, 6, 3), torch.rand(2, 4, 7, 9)
        with torch.no_grad():
            for _ in range(10):
                layer(x)
        assert layer.convolutions == 11

    def test_does_not_grow_with_the_batch_sizes(self):
        """One port pools full batches of coordinates, one entry for each batch size."""

        def remembered(layer):
            memos = (memo for memo in vars(layer).values() if isinstance(memo, tuple))
            return sum(part.numel() for memo in memos for part in memo if torch.is_tensor(part))

        layer = CoordConv2d(4, 6, 3)
        with torch.no_grad():
            layer(torch.rand(1, 4, 7, 9))
            first = remembered(layer)
            assert 0 < first < 1000
            for batch in (2, 16, 3, 128):
                layer(torch.rand(batch, 4, 7, 9))
                layer.train()(torch.rand(batch, 4, 7, 9))
        assert remembered(layer) == first

    def test_stays_out_of_copies_and_files(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 70, 90)
        fresh = len(pickle.dumps(layer))
        with torch.no_grad():
            out = layer(x)
            assert len(pickle.dumps(layer)) < fresh + 200
            assert len(pickle.dumps(copy.deepcopy(layer))) < fresh + 200
            for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                assert twin(x).equal(out)
                nn.init.ones_(twin.weight)
                assert_close(twin(x), plain_definition(twin, x))
            assert layer(x).equal(out)
        assert list(layer.state_dict()) == ["weight", "bias"]

    def test_leaves_the_output_free_to_be_changed(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(1, 4, 7, 9)
        with torch.no_grad():
            first = layer(x).clone()
            layer(x).zero_()
            assert layer(x).equal(first)


class CudaGraph:
    """Makes layers on a CPU believe that a CUDA graph is being captured."""

    def __init__(self, monkeypatch):
        self._monkeypatch = monkeypatch

    def __enter__(self):
        self._patches = self._monkeypatch.context()
        patch = self._patches.__enter__()
        patch.setattr(torch.Tensor, "is_cuda", True, raising=False)
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)

    def __exit__(self, *error):
        self._patches.__exit__(*error)


class TestCudaGraph:
    """Replays read the coordinates that the capture read."""

    @pytest.fixture
    def capture(self, monkeypatch):
        return CudaGraph(monkeypatch)

    @pytest.mark.parametrize("forget", [other_size, transposed_size, other_format, unbatched])
    def test_keeps_what_it_read(self, capture, forget):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        layer(x)
        coords = weakref.ref(layer._coordinates(x))
        with capture:
            layer(x)
        layer(forget(layer, x))
        layer.eval()
        assert layer._coordinates(forget(layer, x)) is not coords()
        assert coords() is not None
        assert len(pickle.dumps(layer)) == len(pickle.dumps(copy.deepcopy(layer)))

    def test_keeps_those_of_every_size_that_it_read(self, capture):
        layer = CoordConv2d(4, 6, 3)
        kept = []
        for side in (5, 6, 7):
            x = torch.rand(2, 4, side, side)
            layer(x)
            kept.append(weakref.ref(layer._coordinates(x)))
            with capture:
                layer(x)
        layer(torch.rand(2, 4, 8, 8))
        assert all(coords() is not None for coords in kept)

    def test_without_a_call_before_it_leaves_nothing_to_eager_calls(self, capture):
        """What a capture makes has no values until the first replay."""
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        with capture:
            layer(x)
            made = layer._coordinates(x)
        assert layer._coordinates(x) is not made
        other = torch.rand(2, 4, 5, 5)
        coords = layer._coordinates(other)
        with capture:
            layer(x)
        assert layer._coordinates(other) is coords

    @pytest.mark.gpu
    @pytest.mark.parametrize("warm", [True, False])
    @pytest.mark.parametrize("grad", [True, False])
    def test_replays_right_after_eager_calls_at_other_sizes(self, warm, grad):
        layer, x = CoordConv2d(4, 6, 3, device="cuda"), torch.rand(2, 4, 70, 90, device="cuda")
        graph, rounding = torch.cuda.CUDAGraph(), {"rtol": 0.02, "atol": 0.02}  # of TF32
        with torch.set_grad_enabled(grad):
            layer(x if warm else x[..., :50])  # cuDNN must be ready before a capture
            with torch.cuda.graph(graph):
                out = layer(x)
            assert_close(layer(x), plain_definition(layer, x), **rounding)  # nothing replayed yet
            for side in range(40, 60):
                layer(torch.rand(2, 4, side, side, device="cuda"))
                torch.full((2, 70, 90), 7.0, device="cuda")  # takes what was freed
            x.copy_(torch.rand_like(x))
            graph.replay()
            assert_close(out, plain_definition(layer, x), **rounding)
