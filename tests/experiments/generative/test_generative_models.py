"""The networks of the GAN and the VAE."""

from typing import get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rl_coordconv import add_coords
from rl_coordconv.experiments.generative.models import (
    AppendChannels,
    PixelNetwork,
    make_decoder,
    make_discriminator,
    make_encoder,
    make_generator,
)
from rl_coordconv.experiments.generative.names import GANModel, VAEModel
from rl_coordconv.experiments.generative.shape import Shape
from rl_coordconv.runs.config import UserError

SMALL = Shape(canvas=16, latent_size=3, channels=4)


def n_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


class TestPaperSize:
    """The numbers of parameters of the authors' networks."""

    def test_the_generators(self):
        assert n_parameters(make_generator("conv", Shape())) == 6_413_315
        for model in ("coordconv", "coordconv-g", "coordconv-zeros", "coordconv-noise"):
            assert n_parameters(make_generator(model, Shape())) == 444_931

    def test_the_discriminators(self):
        for model in ("conv", "coordconv-g"):
            assert n_parameters(make_discriminator(model, Shape())) == 4_316_545
        for model in ("coordconv", "coordconv-zeros", "coordconv-noise"):
            assert n_parameters(make_discriminator(model, Shape())) == 4_319_745


@pytest.mark.parametrize("canvas", [16, 64])
@pytest.mark.parametrize("model", get_args(GANModel))
def test_a_gan_makes_and_reads_images_of_the_canvas(model, canvas):
    shape = Shape(canvas, 3, 2)
    images = make_generator(model, shape)(torch.rand(2, 3))
    assert images.shape == (2, 3, canvas, canvas)
    assert make_discriminator(model, shape)(images).shape == (2, 1)


@pytest.mark.parametrize("model", get_args(VAEModel))
def test_a_vae_makes_and_reads_images_of_the_canvas(model):
    images = make_decoder(model, SMALL)(torch.rand(2, 3))
    assert images.shape == (2, 3, 16, 16)
    assert make_encoder(SMALL)(images).shape == (2, 6)


def test_the_first_layer_equals_a_convolution_over_the_repeated_latent_and_coordinates():
    network = PixelNetwork(SMALL)
    plain = nn.Conv2d(3 + 2, 32, 1)
    plain.load_state_dict(network.first.state_dict())
    z = torch.rand(3, 3)
    wanted = plain(add_coords(z[:, :, None, None].expand(-1, -1, 16, 16)))
    out = network.first_layer(z)
    assert_close(out, wanted)
    grads = [
        torch.autograd.grad(x.square().sum(), layer.parameters())
        for x, layer in ((out, network.first), (wanted, plain))
    ]
    assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-3)
    assert_close(network(z), network.rest(wanted))


def test_weights_are_initialised_as_in_the_authors_code():
    """Glorot's uniform distribution is limited by sqrt(6 / (fan_in + fan_out))."""
    shape = Shape(16, 3, 64)
    deconvolution = make_generator("conv", shape)[4]  # 128 to 64 channels, 5x5
    limit = (6 / (25 * (128 + 64))) ** 0.5
    assert 0.99 * limit < deconvolution.weight.abs().max() <= limit
    first = make_generator("coordconv", shape).first.weight  # he_normal over 3 + 2 channels
    assert first.std().item() == pytest.approx((2 / 5) ** 0.5, rel=0.1)


@pytest.mark.parametrize("control", [None, "zeros", "noise"])
def test_appended_channels_are_those_of_the_variant(control):
    images = torch.rand(2, 3, 16, 16)
    out = AppendChannels(16, control)(images)
    assert torch.equal(out[:, :3], images)
    added = out[:, 3:]
    assert torch.equal(added[0], added[1])
    if control is None:
        assert_close(out, add_coords(images))
    elif control == "zeros":
        assert not added.any()
    else:
        assert len(added[0].unique()) == 2 * 16 * 16


@pytest.mark.parametrize("control", ["zeros", "noise"])
def test_only_coordinates_let_a_generator_know_where_a_pixel_is(control):
    """Without coordinates, only the zero padding of two 3x3 convolutions differs."""
    z = torch.rand(1, 3)
    inner = make_generator(f"coordconv-{control}", SMALL)(z)[..., 2:-2, 2:-2].flatten(2)
    assert inner.std(dim=2).max() < 1e-6 if control == "zeros" else inner.std(dim=2).min() > 1e-3


@pytest.mark.parametrize("canvas", [8, 24, 63])
def test_a_canvas_that_cannot_be_halved_is_an_error(canvas):
    with pytest.raises(UserError, match="must be a power of 2 and at least 16"):
        Shape(canvas)
