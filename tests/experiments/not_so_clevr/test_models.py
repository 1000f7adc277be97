"""Test parameter counts, shapes and initial weights of every network."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv2d
from rl_coordconv.experiments.not_so_clevr.models import MODELS, Shape, make_model
from rl_coordconv.experiments.not_so_clevr.names import MODEL_NAMES
from rl_coordconv.runs.config import UserError


def n_parameters(*arguments):
    with torch.device("meta"):  # draws no random numbers
        return sum(p.numel() for p in make_model(*arguments).parameters())


DECONV = {
    (2, 1): 46_465,
    (2, 2): 183_041,
    (2, 3): 409_729,
    (3, 1): 103_585,
    (3, 2): 409_921,
    (3, 3): 919_009,
    (4, 1): 183_553,
    (4, 2): 727_553,
    (4, 3): 1_632_001,
}


class TestParameters:
    """The numbers of parameters in the authors' code."""

    @pytest.mark.parametrize("task", ["classification", "rendering"])
    @pytest.mark.parametrize(("sizes", "count"), DECONV.items())
    def test_deconv(self, task, sizes, count):
        shape = Shape(filter_size=sizes[0], channels=sizes[1])
        assert n_parameters(task, "deconv", shape) == count

    @pytest.mark.parametrize(("channels", "count"), [(1, 7_553), (2, 29_441), (3, 65_665)])
    def test_coordconv_for_classification(self, channels, count):
        shape = Shape(channels=channels)
        assert n_parameters("classification", "coordconv", shape) == count

    @pytest.mark.parametrize(
        ("filter_size", "channels", "count"),
        [
            (1, 1, 8_074),
            (1, 2, 9_490),
            (2, 1, 9_490),
            (2, 2, 15_010),
            (3, 1, 11_850),
            (3, 2, 24_210),
        ],
    )
    def test_coordconv_for_rendering(self, filter_size, channels, count):
        shape = Shape(filter_size=filter_size, channels=channels)
        assert n_parameters("rendering", "coordconv", shape) == count

    @pytest.mark.parametrize(("sizes", "count"), DECONV.items())
    def test_upsample_controls(self, sizes, count):
        """They differ only in two more input channels at each of six layers."""
        filter_size, channels = sizes
        shape = Shape(filter_size=filter_size, channels=channels)
        outputs = (3 * 64 + 2 * 32) * channels + 1
        coordinates = 2 * outputs * filter_size**2
        assert n_parameters("rendering", "upsample-conv", shape) == count
        with_coords = n_parameters("rendering", "upsample-coordconv", shape)
        assert with_coords == count + coordinates

    @pytest.mark.parametrize(("sizes", "conv_part"), [((2, 1), 1_937), ((3, 2), 16_657)])
    def test_deconv_bottleneck(self, sizes, conv_part):
        shape = Shape(filter_size=sizes[0], channels=sizes[1])
        count = n_parameters("rendering", "deconv-bottleneck", shape)
        assert count == DECONV[sizes] + conv_part

    @pytest.mark.parametrize(
        ("split", "channels", "count"),
        [
            ("uniform", 1, 72_850),
            ("uniform", 2, 159_330),
            ("quadrant", 1, 12_914),
            ("quadrant", 2, 49_890),
        ],
    )
    def test_conv_for_regression(self, split, channels, count):
        shape = Shape(split=split, channels=channels)
        assert n_parameters("regression", "conv", shape) == count

    @pytest.mark.parametrize("model", ["coordconv", "coordconv-relu-avg"])
    @pytest.mark.parametrize("split", ["uniform", "quadrant"])
    def test_coordconv_for_regression(self, model, split):
        assert n_parameters("regression", model, Shape(split=split)) == 906


def test_the_names_are_those_of_the_models():
    assert {task: (*models,) for task, models in MODELS.items()} == MODEL_NAMES


ALL_MODELS = [(task, model) for task, models in MODELS.items() for model in models]


@pytest.mark.parametrize(("task", "model"), ALL_MODELS)
@pytest.mark.parametrize("filter_size", [2, 3, 4])
@pytest.mark.parametrize("split", ["uniform", "quadrant"])
def test_input_and_output_have_the_shapes_of_the_task(task, model, filter_size, split):
    network = make_model(task, model, Shape(split=split, canvas=32, filter_size=filter_size))
    image, xy = (3, 1, 32, 32), (3, 2)
    before, after = (image, xy) if task == "regression" else (xy, image)
    out = network(torch.rand(before))
    assert out.shape == after
    out.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("canvas", [2, 4, 8, 64, 128])
def test_a_deconvolution_has_the_size_of_the_canvas(canvas):
    network = make_model("classification", "deconv", Shape(canvas=canvas))
    assert network(torch.rand(2, 2)).shape == (2, 1, canvas, canvas)


def test_the_softmax_before_rendering_sums_over_all_pixels():
    network = make_model("rendering", "coordconv", Shape(canvas=8, filter_size=1))
    heat = network[:2](torch.rand(3, 2))
    assert_close(heat.sum(dim=(1, 2, 3)), torch.ones(3))


def test_coordconv_for_regression_is_linear_before_its_maximum():
    layers = make_model("regression", "coordconv", Shape(canvas=8))[0]
    network = partial(nn.Sequential.forward, layers)  # for images that are not one-hot
    a, b, zero = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    assert_close(network(a + b) - network(zero), network(a) + network(b) - 2 * network(zero))


class TestInitialWeights:
    def layers(self, task, model, shape, kind):
        network = make_model(task, model, shape)
        return [layer for layer in network.modules() if isinstance(layer, kind)]

    def test_variance_of_a_transposed_convolution_depends_on_its_outputs(self):
        """The fan-in of Keras's ``Conv2DTranspose`` counts output channels."""
        shape = Shape(filter_size=3, channels=2)
        layers = self.layers("classification", "deconv", shape, nn.ConvTranspose2d)
        for layer, outputs in zip(layers, [128, 128, 128, 64, 64, 1], strict=True):
            variance = layer.weight.var().item()
            assert variance == pytest.approx(2 / (9 * outputs), rel=0.15)

    def test_weights_of_a_convolution_have_the_right_variance_and_truncation(self):
        shape = Shape(filter_size=3, channels=3)
        layers = self.layers("rendering", "upsample-coordconv", shape, CoordConv2d)
        for layer, inputs in zip(layers, [4, 194, 194, 194, 98, 98], strict=True):
            variance = 2 / (9 * inputs)
            assert layer.weight.var().item() == pytest.approx(variance, rel=0.15)
            limit = 2 * variance**0.5 / 0.8796
            assert 0.9 * limit < layer.weight.abs().max() <= 1.0001 * limit

    def test_weights_of_a_dense_layer_are_glorot_uniform(self):
        dense, _ = self.layers("regression", "conv", Shape(), nn.Linear)
        limit = (6 / (1024 + 64)) ** 0.5
        assert 0.99 * limit < dense.weight.abs().max() <= limit

    @pytest.mark.parametrize(("task", "model"), ALL_MODELS)
    def test_biases_are_zero(self, task, model):
        kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
        layers = self.layers(task, model, Shape(canvas=32), kinds)
        assert not any(layer.bias.any() for layer in layers)


@pytest.mark.parametrize(
    ("task", "model", "shape", "sentence"),
    [
        ("clasification", "conv", Shape(), "There is no task 'clasification'; did you mean"),
        (
            "classification",
            "conv",
            Shape(),
            "There is no classification model 'conv'; did you mean",
        ),
        ("rendering", "deconv", Shape(filter_size=1), "The deconvolution's filter size must be"),
        (
            "rendering",
            "upsample-conv",
            Shape(canvas=48),
            "must be a power of 2, such as 64, not 48.",
        ),
        ("rendering", "deconv", Shape(canvas=1), "must be a power of 2, such as 64, not 1."),
        ("regression", "conv", Shape(canvas=12), "must be a multiple of 8, not 12."),
        (
            "regression",
            "conv",
            Shape(canvas=16, split="quadrant"),
            "must be a multiple of 32, not 16.",
        ),
        ("rendering", "coordconv", Shape(channels=0), "must be at least 1."),
    ],
)
def test_a_mistake_is_one_sentence(task, model, shape, sentence):
    with pytest.raises(UserError) as error:
        make_model(task, model, shape)
    assert sentence in str(error.value)
