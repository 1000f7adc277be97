"""Test the conversion of convolutions with subclasses, hooks and shared weights."""

import warnings
from functools import partial

import pytest
import torch
from torch import distributed, nn
from torch.nn.utils import parametrizations, prune

from rl_coordconv import CoordConv2d, CoordConvTranspose2d, convert
from rl_coordconv.coordconv import CoordConv1d, CoordConv3d


class Plain(nn.Conv2d):
    """A subclass with torch's forward."""

    def __init__(self, *args):
        super().__init__(*args)
        self.note = "mine"


class Scaled(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Standardised(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean(), bias)


def replaced_forward():
    conv = nn.Conv2d(4, 4, 3)
    conv.forward = lambda x: 2 * nn.Conv2d.forward(conv, x)
    return conv


def compiled():
    conv = nn.Conv2d(4, 4, 3)
    conv.compile(backend="eager")
    return conv


def pruned(name):
    return prune.l1_unstructured(nn.Conv2d(4, 4, 3), name, 0.5)


UNCONVERTIBLE = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)),
    "a parametrised bias": lambda: parametrizations.weight_norm(nn.Conv2d(4, 4, 3), "bias", None),
    "spectral norm by hook": lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 3)),
    "pruned": lambda: pruned("weight"),
    "pruned bias": lambda: pruned("bias"),
    "lazy": lambda: nn.LazyConv2d(4, 3),
    "own forward": lambda: Scaled(4, 4, 3),
    "own convolution": lambda: Standardised(4, 4, 3),
    "replaced forward": replaced_forward,
    "compiled": compiled,
    "transposed in 1d": lambda: nn.ConvTranspose1d(4, 4, 3),
    "transposed in 3d": lambda: nn.ConvTranspose3d(4, 4, 3),
}


class TestChoice:
    @pytest.mark.parametrize("layers", ["first", "all", ["stem"], ["stem", "head"]])
    @pytest.mark.parametrize("kind", UNCONVERTIBLE)
    def test_a_layer_that_cannot_be_converted_is_named(self, kind, layers):
        network = nn.Sequential()
        network.add_module("stem", UNCONVERTIBLE[kind]())
        network.add_module("head", nn.Conv2d(4, 4, 3))
        modules = list(network.modules())
        with pytest.raises(ValueError, match="'stem' cannot be converted"):
            convert(network, layers)
        assert list(network.modules()) == modules
        convert(network, ["head"])
        assert type(network.head) is CoordConv2d

    @pytest.mark.parametrize(
        ("plain", "expected", "axes"),
        [
            (nn.Conv1d, CoordConv1d, 1),
            (nn.Conv2d, CoordConv2d, 2),
            (nn.Conv3d, CoordConv3d, 3),
            (nn.ConvTranspose2d, CoordConvTranspose2d, 2),
        ],
    )
    @pytest.mark.parametrize("layers", ["first", "all", ["0"]])
    def test_a_subclass_with_torchs_forward_is_converted(self, plain, expected, axes, layers):
        class Own(plain):
            pass

        network = nn.Sequential(Own(4, 4, 3))
        x = torch.rand(2, 4, *(5, 6, 7)[:axes])
        before = network(x)
        assert type(convert(network, layers)[0]) is expected
        assert network(x).equal(before)

    def test_a_subclass_keeps_its_attributes(self):
        assert convert(Plain(4, 4, 3)).note == "mine"

    def test_a_lazy_layer_is_converted_after_its_first_call(self):
        network = nn.Sequential(nn.LazyConv2d(4, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's warning about lazy modules
            network(torch.rand(2, 3, 5, 5))
        assert type(convert(network, "first")[0]) is CoordConv2d

    def test_first_does_not_move_on_to_the_second_after_converting_the_first(self):
        network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
        convert(network, "first")
        with pytest.raises(ValueError, match="'0' cannot be converted"):
            convert(network, "first")
        assert type(network[1]) is nn.Conv2d
        convert(network)
        assert type(network[1]) is CoordConv2d

    def test_names_convert_these_layers_only(self):
        network = nn.ModuleDict({name: nn.Conv2d(2, 2, 1) for name in ("a", "b", "c")})
        assert convert(network, ["b", "c"]) is network
        types = [type(network[name]) for name in ("a", "b", "c")]
        assert types == [nn.Conv2d, CoordConv2d, CoordConv2d]

    @pytest.mark.parametrize("layers", [["0", "2"], ["relu"], [1], "0", None, 1])
    def test_unknown_layers_are_an_error(self, layers):
        network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
        with pytest.raises(ValueError, match="There is no convolution|layers must be"):
            convert(network, layers)
        assert type(network[0]) is nn.Conv2d

    def test_distributed_data_parallel_is_an_error(self, tmp_path):
        rendezvous = f"file://{tmp_path}/rendezvous"
        distributed.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
        try:
            parallel = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Conv2d(4, 4, 3)))
            with pytest.raises(
                ValueError, match="keeps the old weights; convert the network before"
            ):
                convert(parallel)
            assert type(parallel.module[0]) is nn.Conv2d
        finally:
            distributed.destroy_process_group()


class Recorder:
    """Records calls of a bound method; also refers to a large object."""

    def __init__(self, network):
        self.calls = []
        self.network = network

    def hook(self, *args, **kwargs):
        self.calls.append(args)

    def __deepcopy__(self, memo):
        raise AssertionError("a hook's owner was copied")


HOOKS = {
    "forward": lambda conv, hook: conv.register_forward_hook(hook),
    "forward with kwargs": lambda conv, hook: conv.register_forward_hook(hook, with_kwargs=True),
    "forward always": lambda conv, hook: conv.register_forward_hook(hook, always_call=True),
    "forward pre": lambda conv, hook: conv.register_forward_pre_hook(hook),
    "forward pre with kwargs": lambda c, hook: c.register_forward_pre_hook(hook, with_kwargs=True),
    "backward": lambda conv, hook: conv.register_full_backward_hook(hook),
    "backward pre": lambda conv, hook: conv.register_full_backward_pre_hook(hook),
    "state_dict": lambda conv, hook: conv.register_state_dict_post_hook(partial(hook)),
    "state_dict pre": lambda conv, hook: conv.register_state_dict_pre_hook(hook),
    "load pre": lambda conv, hook: conv.register_load_state_dict_pre_hook(hook),
    "load post": lambda conv, hook: conv.register_load_state_dict_post_hook(hook),
    "gradient of the weight": lambda conv, hook: conv.weight.register_hook(hook),
    "gradient of the bias": lambda conv, hook: conv.bias.register_hook(hook),
    "accumulated": lambda conv, hook: conv.weight.register_post_accumulate_grad_hook(hook),
}


def use(network):
    network(torch.rand(2, 4, 5, 5, requires_grad=True)).square().sum().backward()
    network.load_state_dict(network.state_dict())


class TestHooks:
    @pytest.mark.parametrize("make", [lambda hook: hook, partial], ids=["method", "partial"])
    @pytest.mark.parametrize("kind", HOOKS)
    def test_hooks_stay_the_same_objects_and_can_be_removed(self, kind, make):
        network = nn.Sequential(nn.Conv2d(4, 6, 3))
        recorder = Recorder(network)
        handle = HOOKS[kind](network[0], make(recorder.hook))
        convert(network)
        use(network)
        assert len(recorder.calls) == 1
        assert not any(type(argument) is nn.Conv2d for argument in recorder.calls[0])
        handle.remove()
        use(network)
        assert len(recorder.calls) == 1

    def test_from_conv_shares_hooks(self):
        conv = nn.Conv2d(4, 6, 3)
        recorder = Recorder(conv)
        handle = conv.register_forward_hook(recorder.hook)
        layer, x = CoordConv2d.from_conv(conv), torch.rand(2, 4, 5, 5)
        layer(x)
        assert [call[0] for call in recorder.calls] == [layer]
        handle.remove()
        layer(x)
        assert len(recorder.calls) == 1

    def test_attributes_are_not_copied(self):
        network = nn.Sequential(nn.Conv2d(4, 6, 3))
        network[0].owner = [Recorder(network)]
        network[0].weight.tag = "no weight decay"
        owner = network[0].owner
        convert(network)
        assert network[0].owner is owner
        assert network[0].weight.tag == "no weight decay"


class TestTies:
    def test_weights_and_biases_stay_shared(self):
        """SAC-AE and CURL tie the actor's convolutions to the critic's."""
        actor, critic = (
            nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3)) for _ in "ac"
        )
        for ours, theirs in zip(actor, critic, strict=True):
            ours.weight, ours.bias = theirs.weight, theirs.bias
        agent, x = nn.ModuleDict({"actor": actor, "critic": critic}), torch.rand(2, 4, 9, 9)
        bias, before = critic[0].bias, critic(x)
        convert(agent)
        assert critic[0].bias is bias
        for ours, theirs in zip(actor, critic, strict=True):
            assert ours is not theirs
            assert ours.weight is theirs.weight
            assert ours.bias is theirs.bias
        assert len(list(agent.parameters())) == 6
        assert critic(x).equal(before)
        assert actor(x).equal(before)

    @pytest.mark.parametrize("layers", ["first", ["0"], ["2"]])
    def test_layers_that_share_a_weight_are_converted_together(self, layers):
        network = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(4)))
        network[2].weight = network[3].weight = network[0].weight
        own_bias = network[2].bias
        convert(network, layers)
        kinds = [type(layer) for layer in network]
        assert kinds == [CoordConv2d, nn.Conv2d, CoordConv2d, CoordConv2d]
        assert network[0].weight is network[2].weight is network[3].weight
        assert network[2].bias is own_bias
        assert network[0].bias is not own_bias

    def test_a_bias_stays_shared_with_another_layer(self):
        network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
        network[1].bias = network[0].bias
        convert(network)
        assert network[1].bias is network[0].bias

    @pytest.mark.parametrize("shared", ["weight", "layer"])
    def test_sharing_with_another_network_is_a_warning(self, shared):
        actor, critic = nn.Sequential(nn.Conv2d(4, 6, 3)), nn.Sequential(nn.Conv2d(4, 6, 3))
        if shared == "weight":
            actor[0].weight = critic[0].weight  # as in SAC-AE and CURL
        else:
            actor[0] = critic[0]
        with pytest.warns(UserWarning, match="Another network shares .* convert both in one call"):
            convert(critic)

    def test_sharing_within_a_network_is_not_a_warning(self):
        network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
        network[1].weight = network[0].weight
        convert(network)
        other = nn.Sequential(nn.Conv2d(4, 4, 3))
        other[0] = convert(other[0])

    def test_sharing_that_cannot_be_preserved_is_an_error(self):
        decoder = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ConvTranspose2d(6, 4, 3))
        decoder[1].weight = decoder[0].weight
        scaled = nn.Sequential(nn.Conv2d(4, 6, 3), Scaled(4, 6, 3))
        scaled[1].weight = scaled[0].weight
        elsewhere = nn.Sequential(nn.Conv2d(4, 6, 3))
        elsewhere.kernel = elsewhere[0].weight
        for network, named in ((decoder, "'1' shares"), (scaled, "'1'"), (elsewhere, "'kernel'")):
            for layers in ("first", "all"):
                with pytest.raises(ValueError, match=named):
                    convert(network, layers)
                assert type(network[0]) is nn.Conv2d
