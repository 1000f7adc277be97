"""The layers as torch modules: parameters, dtypes, memory formats and `from_conv`."""

import copy

import pytest
import torch
from definition import COUNTERPARTS, plain_definition
from torch import nn
from torch.testing import assert_close

from rl_coordconv import (
    CoordConv1d,
    CoordConv2d,
    CoordConv3d,
    CoordConvTranspose2d,
    add_coords,
    coordinate_channels,
)

CLASSES = pytest.mark.parametrize("make", COUNTERPARTS, ids=lambda make: make.__name__)


def make_layer_and_input(make, **options):
    """Return a small layer of a class, and an input for it."""
    size = (5, 7, 6)[: make.axes]
    return make(4, 6, 3, stride=2, groups=2, **options), torch.rand(2, 4, *size)


class TestIsAConvolution:
    @CLASSES
    def test_of_torchs_class_with_one_weight_and_one_bias(self, make):
        """Published ports with an inner convolution have unused parameters besides."""
        layer, x = make_layer_and_input(make)
        assert isinstance(layer, COUNTERPARTS[make])
        assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
        assert not list(layer.children())
        assert not list(layer.buffers())
        layer(x).square().sum().backward()
        layer.eval()
        with torch.no_grad():
            layer(x)
        assert all(p.grad.count_nonzero() == p.numel() for p in layer.parameters())
        assert list(layer.state_dict()) == ["weight", "bias"]

    @pytest.mark.parametrize("with_r", [False, True])
    def test_whose_weight_has_the_coordinates_after_each_groups_channels(self, with_r):
        """One published port does not count the radius channel."""
        n = 2 + with_r
        layer = CoordConv2d(4, 6, (3, 5), groups=2, with_r=with_r)
        assert layer.weight.shape == (6, 2 + n, 3, 5)
        transposed = CoordConvTranspose2d(4, 6, (3, 5), groups=2, with_r=with_r)
        assert transposed.weight.shape == (4 + 2 * n, 3, 3, 5)
        assert CoordConv1d(4, 6, 3, with_r=with_r).weight.shape == (6, 4 + 1 + with_r, 3)
        assert CoordConv3d(4, 6, 3, with_r=with_r).weight.shape == (6, 4 + 3 + with_r, 3, 3, 3)
        assert layer.in_channels == 4
        assert (
            f"Conv2d(4, 6, kernel_size=(3, 5), stride=(1, 1), groups=2, with_r={with_r})"
            in repr(layer)
        )

    def test_that_starts_as_one_over_the_concatenation(self):
        """Two separate convolutions initialise coordinate weights several times too large."""
        torch.manual_seed(1)
        layer = CoordConv2d(64, 32, 3, with_r=True)
        torch.manual_seed(1)
        plain = nn.Conv2d(64 + 3, 32, 3)
        assert layer.weight.equal(plain.weight)
        assert layer.bias.equal(plain.bias)
        bound = (67 * 9) ** -0.5
        assert bound * 0.95 < layer.weight[:, 64:].abs().max() < bound

    def test_whose_checkpoint_fits_the_plain_definition(self):
        layer, plain = CoordConv2d(4, 6, 3), nn.Conv2d(6, 6, 3)
        plain.load_state_dict(layer.state_dict())
        x = torch.rand(2, 4, 5, 7)
        assert_close(layer(x), plain(add_coords(x)))

    def test_that_reports_a_wrong_input_as_torch_does(self):
        with pytest.raises(RuntimeError, match="to have 4 channels, but got 3 channels"):
            CoordConv2d(4, 6, 3)(torch.rand(2, 3, 5, 5))

    def test_that_a_parametrisation_computes_once_per_call(self):
        layer = nn.utils.parametrizations.spectral_norm(CoordConv2d(4, 6, 3))
        twin = copy.deepcopy(layer)
        layer(torch.rand(2, 4, 5, 7))
        _ = twin.weight  # one step of the power iteration
        assert layer.parametrizations.weight[0]._u.equal(twin.parametrizations.weight[0]._u)


def assert_is_the_definition(layer, x):
    assert_close(layer(x), plain_definition(layer, x))


class TestTypesAndFormats:
    @CLASSES
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_a_module_of_any_floating_type_computes_in_it(self, make, dtype):
        """Published ports concatenate float32 coordinates, which changes the input's dtype."""
        layer, x = make_layer_and_input(make, with_r=True)
        layer, x = layer.to(dtype), x.to(dtype)
        out = layer(x)
        out.sum().backward()
        assert out.dtype == layer.weight.grad.dtype == dtype
        rounding = {"rtol": 4 * torch.finfo(dtype).eps, "atol": 4 * torch.finfo(dtype).eps}
        exact = plain_definition(layer.double(), x.double())
        assert_close(out.double(), exact, **rounding)
        with torch.no_grad():
            assert_close(layer.to(dtype)(x).double(), exact, **rounding)

    def test_autocast_computes_in_bfloat16_and_learns_in_float32(self):
        layer, x = make_layer_and_input(CoordConv2d)
        with torch.autocast("cpu", torch.bfloat16):
            out = layer(x)
        assert out.dtype == torch.bfloat16
        assert_close(out.float(), layer(x), rtol=0.02, atol=0.02)
        out.float().sum().backward()
        assert layer.weight.grad.dtype == torch.float32

    def test_complex_numbers(self):
        layer = CoordConv2d(4, 6, 3, with_r=True, dtype=torch.complex64)
        assert_is_the_definition(layer, torch.rand(2, 4, 5, 7, dtype=torch.complex64))

    def test_uint8_images_are_refused_instead_of_wrapping_around(self):
        frames = torch.randint(0, 256, (2, 4, 9, 9), dtype=torch.uint8)
        layer = CoordConv2d(4, 6, 3)
        with pytest.raises(RuntimeError, match="should be the same"):
            layer(frames)
        with torch.no_grad(), pytest.raises(TypeError, match=r"fractions.*uint8"):
            layer(frames)

    @CLASSES
    def test_meta_tensors(self, make):
        layer, x = make_layer_and_input(make, device="meta")
        real, x = make_layer_and_input(make)
        assert layer(x.to("meta")).shape == real(x).shape
        layer.to_empty(device="cpu").load_state_dict(real.state_dict())
        assert layer(x).equal(real(x))

    @pytest.mark.parametrize(
        ("make", "memory_format"),
        [
            (CoordConv2d, torch.channels_last),
            (CoordConv3d, torch.channels_last_3d),
            (CoordConvTranspose2d, torch.channels_last),
        ],
    )
    def test_channels_last_is_kept(self, make, memory_format):
        layer, x = make_layer_and_input(make)
        expected = layer(x)
        layer, x = layer.to(memory_format=memory_format), x.to(memory_format=memory_format)
        assert layer.weight.is_contiguous(memory_format=memory_format)
        for grad in (True, False, False):
            with torch.set_grad_enabled(grad):
                out = layer(x)
            assert out.is_contiguous(memory_format=memory_format)
            assert_close(out, expected)

    def test_a_default_layer_needs_no_gpu(self, monkeypatch):
        """One published port tests ``if torch.cuda.is_available:``, which is always true."""

        def no_gpu(*_, **__):
            raise AssertionError("Torch not compiled with CUDA enabled")

        monkeypatch.setattr(torch.Tensor, "cuda", no_gpu)
        monkeypatch.setattr(nn.Module, "cuda", no_gpu)
        layer, x = make_layer_and_input(CoordConv2d)
        assert layer(x).device.type == "cpu"


class TestBugsOfPorts:
    """Bugs of published ports; those in the coordinates alone are in ``test_coordinates.py``."""

    def test_an_image_of_one_row_gives_numbers(self):
        layer = CoordConv2d(2, 3, (1, 3), with_r=True)
        assert layer(torch.rand(2, 2, 1, 9)).isfinite().all()
        assert layer(torch.rand(2, 2, 1, 3)).isfinite().all()

    def test_an_image_need_not_be_square(self):
        layer = CoordConv2d(2, 3, 3)
        assert layer(torch.rand(2, 2, 5, 9)).shape == (2, 3, 3, 7)
        assert_is_the_definition(layer, torch.rand(2, 2, 9, 5))

    def test_the_padding_mode_is_not_dropped(self):
        x = torch.rand(2, 2, 5, 9)
        zeros = CoordConv2d(2, 3, 3, padding=1)
        circular = CoordConv2d(2, 3, 3, padding=1, padding_mode="circular")
        circular.load_state_dict(zeros.state_dict())
        assert not zeros(x).allclose(circular(x))
        assert_is_the_definition(circular, x)

    def test_every_group_sees_the_coordinates(self):
        layer = CoordConv2d(4, 2, 1, groups=2, bias=False)
        nn.init.ones_(layer.weight)
        i, j = coordinate_channels((3, 4))
        assert_close(layer(torch.zeros(1, 4, 3, 4)), torch.stack([i + j, i + j])[None])


class TestFromConv:
    @CLASSES
    @pytest.mark.parametrize("with_r", [False, True])
    def test_keeps_the_output_to_the_last_bit(self, make, with_r):
        plain = COUNTERPARTS[make](4, 6, 3, stride=2, padding=1, groups=2)
        _, x = make_layer_and_input(make)
        layer = make.from_conv(plain, with_r)
        assert type(layer) is make
        assert layer.with_r == with_r
        assert layer.weight.numel() > plain.weight.numel()
        assert layer(x).equal(plain(x))
        with torch.no_grad():
            assert layer(x).equal(plain(x))
            assert layer(x).equal(plain(x))
        layer(x).square().sum().backward()
        assert layer.weight.grad.count_nonzero() == layer.weight.numel()

    def test_copies_the_settings_and_does_not_change_the_original(self):
        plain = nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=False).double().eval()
        plain.weight.requires_grad_(False)
        before = copy.deepcopy(plain.state_dict())
        layer = CoordConv2d.from_conv(plain)
        assert (layer.padding_mode, layer.bias, layer.training) == ("reflect", None, False)
        assert layer.weight.dtype == torch.float64
        assert not layer.weight.requires_grad
        nn.init.zeros_(layer.weight)
        assert type(plain) is nn.Conv2d
        assert_close(plain.state_dict(), before)

    def test_draws_no_random_number(self):
        plain = nn.Conv2d(4, 6, 3)
        state = torch.get_rng_state()
        CoordConv2d.from_conv(plain)
        assert torch.get_rng_state().equal(state)

    def test_keeps_hooks_and_everything_else_that_was_registered(self):
        plain = nn.Conv2d(4, 6, 3)
        plain.gain = nn.Parameter(torch.tensor(3.0))
        plain.register_buffer("shift", torch.tensor(1.0))
        plain.bias.requires_grad_(False)
        plain.register_forward_hook(lambda layer, _, out: layer.gain * out + layer.shift)
        loaded = []
        plain.register_load_state_dict_pre_hook(lambda layer, *_: loaded.append(layer))
        layer, x = CoordConv2d.from_conv(plain), torch.rand(2, 4, 5, 7)
        assert [*layer.state_dict()] == ["weight", "bias", "gain", "shift"]
        assert [p.requires_grad for p in layer.parameters()] == [True, False, True]
        assert layer(x).equal(plain(x))
        with torch.no_grad():
            layer.gain.zero_()
        assert (layer(x) == 1).all()
        assert not (plain(x) == 1).any()
        layer.load_state_dict(layer.state_dict())
        assert loaded == [layer]  # torch passes the layer to the hook, not the convolution

    @pytest.mark.parametrize(
        ("make", "memory_format"),
        [(CoordConv2d, torch.channels_last), (CoordConv3d, torch.channels_last_3d)],
    )
    def test_keeps_the_memory_format(self, make, memory_format):
        plain = COUNTERPARTS[make](4, 6, 3).to(memory_format=memory_format)
        layer = make.from_conv(plain)
        assert layer.weight.is_contiguous(memory_format=memory_format)
        assert not layer.weight.is_contiguous()

    def test_makes_a_layer_of_a_subclass(self):
        class Own(CoordConv2d):
            pass

        plain, x = nn.Conv2d(4, 6, 3, stride=2, padding="valid"), torch.rand(2, 4, 5, 7)
        layer = Own.from_conv(plain)
        assert type(layer) is Own
        assert layer(x).equal(plain(x))

    def test_coordinate_weights_learn_from_the_first_step(self):
        layer = CoordConv2d.from_conv(nn.Conv2d(4, 6, 3))
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(torch.rand(2, 4, 5, 7)).square().mean().backward()
        optimiser.step()
        assert layer.weight[:, 4:].abs().min() > 0

    def test_refuses_other_layers_and_computed_weights(self):
        with pytest.raises(TypeError, match="CoordConv2d cannot be made from a Conv1d"):
            CoordConv2d.from_conv(nn.Conv1d(4, 6, 3))
        with pytest.raises(TypeError, match="from a CoordConv2d"):
            CoordConv2d.from_conv(CoordConv2d(4, 6, 3))
        hooked = nn.utils.spectral_norm(nn.Conv2d(4, 6, 3))
        with pytest.raises(ValueError, match="remove the hook first"):
            CoordConv2d.from_conv(hooked)
