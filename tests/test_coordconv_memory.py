"""The caches of a layer: everything that must invalidate them, and their memory."""

import copy
import pickle
import weakref

import pytest
import torch
from definition import FORMS, computing, plain_definition
from stable_baselines3.common.utils import polyak_update
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv2d, CoordConvTranspose2d, coordconv


def step(layer, x):
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    with torch.enable_grad():
        layer(x).square().sum().backward()
    optimiser.step()


def load(layer, x):
    layer.load_state_dict(CoordConv2d(4, 6, 3, padding=1).state_dict())


def polyak(layer, x):
    """Update weights through ``.data``, as Stable-Baselines3 updates a target network."""
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
    """Change the image size, for which the cached map would not even fit."""
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


class TestFormOnAGpu:
    """The layer concatenates small inputs; ``meta`` tensors stand in for large ones at no cost."""

    @staticmethod
    def concatenates(shape, *geometry, captured=False, **settings):
        read = []

        class Recording(CoordConv2d):
            def _conv_forward(self, x, *args):
                read.append(x.shape[1])
                return super()._conv_forward(x, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "is_cuda", True, raising=False)
            patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: captured)
            channels = shape[-3]
            layer = Recording(channels, *geometry, device="meta", **settings)
            layer(torch.empty(shape, device="meta"))
        return read == [channels + 2]

    def test_of_small_inputs_is_the_concatenation(self):
        nature = (32, 8, 4)
        assert self.concatenates((1, 4, 84, 84), *nature)
        assert self.concatenates((256, 4, 84, 84), *nature)
        assert not self.concatenates((2048, 4, 84, 84), *nature)
        assert self.concatenates((16, 4, 84, 84), *nature, captured=True)
        assert not self.concatenates((256, 4, 84, 84), *nature, captured=True)
        assert self.concatenates((16, 64, 56, 56), 64, 3)
        assert not self.concatenates((256, 64, 56, 56), 64, 3)
        assert self.concatenates((64, 2, 64, 64), 32, 1)

    def test_of_groups_and_without_a_batch_is_the_map(self):
        assert not self.concatenates((4, 84, 84), 32, 8, 4)
        assert not self.concatenates((1, 4, 84, 84), 32, 8, 4, groups=2)

    def test_does_not_change_in_a_capture_if_cudnn_measures(self, monkeypatch):
        shape, geometry = (256, 4, 84, 84), (32, 8, 4)
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        assert not self.concatenates(shape, *geometry)
        assert not self.concatenates(shape, *geometry, captured=True)


class TestCachedMap:
    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    @pytest.mark.parametrize("form", FORMS)
    def test_is_invalidated_after(self, change, mode, form):
        with computing(form):
            self._check(change, mode)

    @staticmethod
    def _check(change, mode):
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

    def test_is_invalidated_when_autocast_changes(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        with torch.no_grad():
            for dtype in (None, torch.bfloat16, torch.float16, None, torch.bfloat16):
                with torch.autocast("cpu", dtype, enabled=dtype is not None):
                    expected = copy.deepcopy(layer)(x)
                    assert layer(x).dtype == (dtype or torch.float32)
                    assert layer(x).equal(expected)
            with torch.autocast("cpu", torch.bfloat16):
                layer.bfloat16()  # only the weight changes its dtype
                assert layer(x).equal(copy.deepcopy(layer)(x))

    def test_is_invalidated_when_the_output_size_changes(self):
        layer, x = CoordConvTranspose2d(4, 6, 3, stride=2), torch.rand(2, 4, 5, 7)
        with torch.no_grad():
            for size in ([11, 15], [12, 16], [11, 15]):
                assert_close(layer(x, size), plain_definition(layer, x, output_size=size))

    @pytest.mark.parametrize("form", FORMS)
    def test_of_inference_mode_is_not_used_in_later_training(self, form):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        with computing(form):
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

    @pytest.mark.parametrize("form", FORMS)
    def test_does_not_grow_with_the_batch_sizes(self, form):
        """One published port caches a batch of coordinates for every batch size."""

        def remembered(layer):
            memos = (memo for memo in vars(layer).values() if isinstance(memo, tuple))
            return sum(part.numel() for memo in memos for part in memo if torch.is_tensor(part))

        layer = CoordConv2d(4, 6, 3)
        with torch.no_grad(), computing(form):
            layer(torch.rand(1, 4, 7, 9))
            first = remembered(layer)
            assert 0 < first < 1000
            for batch in (2, 16, 3, 128, 1):
                layer(torch.rand(batch, 4, 7, 9))
                layer.train()(torch.rand(batch, 4, 7, 9))
        assert remembered(layer) == first

    @pytest.mark.parametrize("form", FORMS)
    def test_is_not_in_copies_and_files(self, form):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 70, 90)
        fresh = len(pickle.dumps(layer))
        with torch.no_grad(), computing(form):
            out = layer(x)
            assert len(pickle.dumps(layer)) < fresh + 200
            assert len(pickle.dumps(copy.deepcopy(layer))) < fresh + 200
            for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
                assert twin(x).equal(out)
                nn.init.ones_(twin.weight)
                assert_close(twin(x), plain_definition(twin, x))
            assert layer(x).equal(out)
        assert list(layer.state_dict()) == ["weight", "bias"]

    def test_does_not_share_memory_with_the_output(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(1, 4, 7, 9)
        with torch.no_grad():
            first = layer(x).clone()
            layer(x).zero_()
            assert layer(x).equal(first)


@pytest.mark.parametrize("form", ["map", "concatenation"])
class TestCudaGraph:
    """Replays read the same coordinate tensors as the capture, so these must stay alive."""

    @staticmethod
    def read(layer, x, form, captured=False):
        """Call a layer, and return the coordinates that it read."""
        with computing(form, captured=captured):
            layer(x)
            one = layer._coordinates(x)
            return one if form == "map" else layer._batch_of_coordinates(x)

    @pytest.mark.parametrize("forget", [other_size, transposed_size, other_format, unbatched])
    def test_keeps_the_coordinates_that_it_read(self, forget, form):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        coords = weakref.ref(self.read(layer, x, form))
        assert self.read(layer, x, form, captured=True) is coords()
        assert self.read(layer, forget(layer, x), form) is not coords()
        layer.eval()
        assert coords() is not None
        assert len(pickle.dumps(layer)) == len(pickle.dumps(copy.deepcopy(layer)))

    def test_keeps_those_of_every_size_that_it_read(self, form):
        layer = CoordConv2d(4, 6, 3)
        kept = []
        for side in (5, 6, 7):
            x = torch.rand(2, 4, side, side)
            kept.append(weakref.ref(self.read(layer, x, form)))
            self.read(layer, x, form, captured=True)
        self.read(layer, torch.rand(2, 4, 8, 8), form)
        assert all(coords() is not None for coords in kept)

    def test_without_a_call_before_it_fills_no_cache(self, form):
        """A tensor that is created in a capture has no values before the first replay."""
        layer, x = CoordConv2d(4, 6, 3), torch.rand(2, 4, 7, 9)
        made = self.read(layer, x, form, captured=True)
        assert self.read(layer, x, form) is not made
        other = torch.rand(2, 4, 5, 5)
        coords = self.read(layer, other, form)
        self.read(layer, x, form, captured=True)
        assert self.read(layer, other, form) is coords

    @pytest.mark.gpu
    @pytest.mark.parametrize("warm", [True, False])
    @pytest.mark.parametrize("grad", [True, False])
    def test_replays_right_after_eager_calls_at_other_sizes(self, warm, grad, form, monkeypatch):
        for limit in ("_EAGER_LIMIT", "_CAPTURED_LIMIT"):
            monkeypatch.setattr(coordconv, limit, FORMS[form])
        layer, x = CoordConv2d(4, 6, 3, device="cuda"), torch.rand(2, 4, 70, 90, device="cuda")
        graph, rounding = torch.cuda.CUDAGraph(), {"rtol": 0.02, "atol": 0.02}  # for TF32
        with torch.set_grad_enabled(grad):
            layer(x if warm else x[..., :50])  # cuDNN must be ready before a capture
            with torch.cuda.graph(graph):
                out = layer(x)
            assert_close(layer(x), plain_definition(layer, x), **rounding)  # nothing replayed yet
            for side in range(40, 60):
                layer(torch.rand(2, 4, side, side, device="cuda"))
                torch.full((2, 70, 90), 7.0, device="cuda")  # reuses freed memory
            x.copy_(torch.rand_like(x))
            graph.replay()
            assert_close(out, plain_definition(layer, x), **rounding)
