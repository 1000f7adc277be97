"""The layers' outputs: values computed by hand, and every layer against the plain definition."""

import hypothesis.strategies as st
import pytest
import torch
from definition import FORMS, computing, plain_definition
from hypothesis import given, settings
from torch import nn
from torch.testing import assert_close

from rl_coordconv import CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d
from rl_coordconv.memory_format import memory_format_of

ROOT_TWO = 2**0.5


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    torch.manual_seed(0)


class TestByHand:
    def test_a_one_by_one_kernel_weights_each_coordinate(self):
        layer = CoordConv2d(1, 1, 1, with_r=True)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([2.0, 10, 100, 1000]).view(1, 4, 1, 1))
            layer.bias.fill_(0.5)
        x = torch.tensor([[0.0, 1, 2], [3, 4, 5]])
        i = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
        j = torch.tensor([[-1.0, 0, 1], [-1, 0, 1]])
        r = torch.tensor([[ROOT_TWO, 1, ROOT_TWO], [ROOT_TWO, 1, ROOT_TWO]])
        expected = 2 * x + 10 * i + 100 * j + 1000 * r + 0.5
        assert_close(layer(x.view(1, 1, 2, 3)), expected.view(1, 1, 2, 3))

    def test_zero_padding_puts_the_border_at_the_centre(self):
        layer = CoordConv2d(1, 1, 3, padding=1, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1))  # i only
        out = layer(torch.rand(1, 1, 3, 3))
        assert_close(out, torch.tensor([[[[-2.0, -3, -2], [0, 0, 0], [2, 3, 2]]]]))

    def test_the_positional_map_is_the_contribution_of_the_coordinates(self):
        layer = CoordConv2d(3, 4, 3, stride=2, padding=1, with_r=True)
        x = torch.rand(2, 3, 7, 9)
        blind = layer(x) - layer.positional_map((7, 9))
        with torch.no_grad():
            layer.weight[:, 3:] = 0
        assert_close(blind, layer(x))


@st.composite
def geometries(draw, axes):
    """Return arguments of torch's convolution, and input sizes that are valid for them."""

    def one_or_each(largest, smallest=1):
        number = st.integers(smallest, largest)
        return draw(number | st.tuples(*[number] * axes))

    def each(value):
        return value if isinstance(value, tuple) else (value,) * axes

    kernel, dilation = one_or_each(3), one_or_each(2)
    kinds = ["number", "number", "same", "valid"]
    padding = draw(st.sampled_from(kinds))
    padding = one_or_each(2, smallest=0) if padding == "number" else padding
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    stride = 1 if padding == "same" else one_or_each(3)
    extents = [d * (k - 1) for d, k in zip(each(dilation), each(kernel), strict=True)]
    borders = {"same": [(e + 1) // 2 for e in extents], "valid": [0] * axes}
    border = borders[padding] if isinstance(padding, str) else each(padding)
    size = []
    for extent, pad in zip(extents, border, strict=True):
        fits = max(1, extent + 1 - 2 * pad)
        fits = max(fits, {"reflect": pad + 1, "circular": pad}.get(mode, 1))
        size.append(fits + draw(st.integers(0, 4)))
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": mode}
    return (kernel,), settings, size


@st.composite
def layers_and_inputs(draw, transposed=False):
    """Return a layer in float64, and an input for it."""
    groups = draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 2)) for _ in range(2)]
    options = {"bias": draw(st.booleans()), "with_r": draw(st.booleans()), "groups": groups}
    torch.manual_seed(draw(st.integers(0, 99)))
    if transposed:
        make, axes = CoordConvTranspose2d, 2
        pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
        kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
        smaller = [max(s, d) - 1 for s, d in zip(stride, dilation, strict=True)]
        extra = tuple(draw(st.integers(0, n)) for n in smaller)
        padding = tuple(draw(st.integers(0, k - 1)) for k in kernel)
        geometry = {"stride": stride, "dilation": dilation, "output_padding": extra}
        arguments, geometry = (kernel,), {**geometry, "padding": padding}
        size = [draw(st.integers(1, 4)) + p for p in padding]
    else:
        make, axes = draw(st.sampled_from([(CoordConv1d, 1), (CoordConv2d, 2), (CoordConv3d, 3)]))
        arguments, geometry, size = draw(geometries(axes))
    layer = make(*channels, *arguments, **geometry, **options, dtype=torch.float64)
    # Torch does not support circular padding without a batch.
    batchless = layer.padding_mode != "circular" and draw(st.booleans())
    batch = [] if batchless else [draw(st.integers(1, 3))]
    return layer, torch.randn(*batch, channels[0], *size, dtype=torch.float64)


def assert_values_and_gradients_are_the_definition(layer, x, **output_size):
    tight = {"rtol": 1e-10, "atol": 1e-10}
    variables = [x.requires_grad_(), *layer.parameters()]
    ours = layer(x, **output_size)
    theirs = plain_definition(layer, x, **output_size)
    assert_close(ours, theirs, **tight)
    upstream = torch.randn_like(theirs)
    our_gradients = torch.autograd.grad(ours, variables, upstream)
    their_gradients = torch.autograd.grad(theirs, variables, upstream)
    assert_close(our_gradients, their_gradients, **tight)
    with torch.no_grad():
        assert_close(layer(x, **output_size), theirs, **tight)  # computes the map
        assert_close(layer(x, **output_size), theirs, **tight)  # uses the cached map
        assert_close(layer(x * 2, **output_size), plain_definition(layer, x * 2, **output_size))


class TestIsTheDefinition:
    @settings(max_examples=300, deadline=None)
    @given(layers_and_inputs(), st.sampled_from([*FORMS]))
    # Torch warns about even kernels, in its own layer too.
    @pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
    def test_for_every_rank_and_argument(self, layer_and_input, form):
        with computing(form):
            assert_values_and_gradients_are_the_definition(*layer_and_input)

    @settings(max_examples=90, deadline=None)
    @given(layers_and_inputs(transposed=True), st.sampled_from([*FORMS]))
    def test_for_the_transposed_convolution(self, layer_and_input, form):
        with computing(form):
            assert_values_and_gradients_are_the_definition(*layer_and_input)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("output_size", [[9, 11], [10, 12]])
    def test_for_an_output_size_chosen_per_call(self, output_size, form):
        layer = CoordConvTranspose2d(2, 3, 3, stride=2, padding=1, dtype=torch.float64)
        x = torch.randn(2, 2, 5, 6, dtype=torch.float64)
        with computing(form):
            assert_values_and_gradients_are_the_definition(layer, x, output_size=output_size)
        with torch.no_grad():  # a cached map of one size must not be used for another
            assert layer(x).shape == (2, 3, 9, 11)

    @pytest.mark.parametrize(("bias", "form"), [(True, "split"), (False, "split"), (True, "map")])
    @pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's
    def test_to_second_order_and_forward_mode(self, bias, form):
        layer = CoordConv2d(2, 3, 2, bias=bias, dtype=torch.float64)
        x = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        names = [name for name, _ in layer.named_parameters()]

        def call(x, *parameters):
            return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x)

        variables = (x, *layer.parameters())
        with computing(form):
            assert torch.autograd.gradcheck(call, variables, check_forward_ad=True)
            assert torch.autograd.gradgradcheck(call, variables)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("make", [CoordConv2d, CoordConvTranspose2d])
    @pytest.mark.parametrize("number", [float("-inf"), float("inf"), float("nan")])
    @pytest.mark.parametrize("where", ["bias", "input weight", "coordinate weight", "input"])
    def test_with_infinite_values(self, make, number, where, form):
        """A bias of minus infinity, for example, disables a filter."""
        layer, x = make(2, 3, 2), torch.rand(2, 2, 4, 5)
        x_weight, coord_weight = layer.split_weight()
        parts = {"bias": layer.bias, "input weight": x_weight, "coordinate weight": coord_weight}
        with torch.no_grad():
            part = parts.get(where, x)
            part[(0,) * part.dim()] = number
        with computing(form):
            variables = list(layer.parameters())
            upstream = torch.rand_like(layer(x))
            ours, theirs = layer(x), plain_definition(layer, x)
            assert_close(ours, theirs, equal_nan=True)
            assert_close(
                torch.autograd.grad(ours, variables, upstream),
                torch.autograd.grad(theirs, variables, upstream),
                equal_nan=True,
            )
            for mode in (torch.no_grad, torch.inference_mode):
                with mode():
                    assert_close(layer(x), theirs, equal_nan=True)
                    assert_close(layer(x), theirs, equal_nan=True)

    @pytest.mark.parametrize("form", FORMS)
    def test_for_an_empty_batch(self, form):
        layer = CoordConv2d(2, 3, 3)
        with computing(form):
            assert layer(torch.rand(0, 2, 5, 5)).shape == (0, 3, 3, 3)
            with torch.no_grad():
                assert layer(torch.rand(0, 2, 5, 5)).shape == (0, 3, 3, 3)

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("make", [CoordConv2d, CoordConv3d, CoordConvTranspose2d])
    def test_in_the_memory_format_of_the_input(self, make, form):
        layer = make(3, 5, 3)
        x = torch.rand(2, 3, *(6, 7, 8)[: layer.axes])
        for other in (x, x.movedim(1, -1).contiguous().movedim(-1, 1)):
            with computing(form):
                out = layer(other)
            assert memory_format_of(out) is memory_format_of(other)
            assert_close(out, plain_definition(layer, x))

    def test_for_the_coordinates_of_a_subclass(self):
        class BlindConv2d(CoordConv2d):
            def make_coordinates(self, size, *, device, dtype):
                return torch.zeros(self.n_coords, *size, device=device, dtype=dtype)

        layer = BlindConv2d(2, 3, 3)
        x = torch.rand(2, 2, 5, 6)
        expected = nn.functional.conv2d(x, layer.weight[:, :2], layer.bias)
        assert_close(layer(x), expected)
        with torch.no_grad():
            assert_close(layer(x), expected)
