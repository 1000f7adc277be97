"""The layers with compilers, exporters, tracers, torch.func and distributed training."""

import copy
import io
import shutil
import warnings

import numpy as np
import onnxruntime
import pytest
import torch
import torch._dynamo.testing
from definition import COUNTERPARTS, plain_definition
from games import WhereIsTheSquare
from stable_baselines3 import A2C, DQN, PPO
from torch import distributed, fx, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close

from rl_coordconv import CoordConv2d, CoordConvTranspose2d, add_coords, policy_kwargs

CLASSES = pytest.mark.parametrize("make", COUNTERPARTS, ids=lambda make: make.__name__)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.manual_seed(0)
    torch.compiler.reset()


def make_layer_and_input(make):
    size = (5, 7, 6)[: make.axes]
    return make(4, 6, 3, padding=1, with_r=True), torch.rand(3, 4, *size)


class TestCompile:
    @CLASSES
    def test_gives_one_graph_with_the_same_values_and_gradients(self, make):
        layer, x = make_layer_and_input(make)
        variables = [x.requires_grad_(), *layer.parameters()]
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        upstream = torch.rand_like(layer(x))
        assert_close(compiled(x), layer(x))
        assert_close(
            torch.autograd.grad(compiled(x), variables, upstream),
            torch.autograd.grad(layer(x), variables, upstream),
        )
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                assert_close(compiled(x), layer(x))

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
    def test_works_with_machine_code(self):
        layer, x = make_layer_and_input(CoordConv2d)
        compiled = torch.compile(layer, fullgraph=True)
        variables, upstream = list(layer.parameters()), torch.rand(3, 6, 5, 7)
        assert_close(
            torch.autograd.grad(compiled(x), variables, upstream),
            torch.autograd.grad(layer(x), variables, upstream),
        )

    def count_compilations(self, layer, sizes):
        torch.compiler.reset()
        counter = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(layer, fullgraph=True, backend=counter)
        for batch, *size in sizes:
            compiled(torch.rand(batch, 4, *size))
        return counter.frame_count

    def test_compiles_once_more_for_all_other_batch_sizes(self):
        """At the second batch size, torch compiles for all, here from a batch of 16 upwards."""
        sizes = [(n, 5, 7) for n in (3, 8, 2, 15, 5)]
        assert self.count_compilations(CoordConv2d(4, 6, 3), sizes) == 2

    def test_compiles_as_often_as_conv2d(self):
        sizes = [(3, 5, 7), (8, 9, 7), (2, 5, 11), (256, 20, 20), (1, 20, 20), (17, 6, 6)]
        counts = [
            self.count_compilations(make(4, 6, 3), sizes) for make in (nn.Conv2d, CoordConv2d)
        ]
        assert counts[0] == counts[1]

    def test_does_not_recompile_after_eager_calls_fill_caches(self):
        layer, x = make_layer_and_input(CoordConv2d)
        counter = torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(layer, fullgraph=True, backend=counter)
        layer(x)
        compiled(x)
        layer(x[..., :5])
        with torch.no_grad():
            layer(x)
        assert_close(compiled(x), layer(x))
        assert counter.frame_count == 1

    def test_follows_weights_that_change(self):
        layer, x = make_layer_and_input(CoordConv2d)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            layer(x)
            compiled(x)
            layer.weight.data[:, 4:] += 1
            assert_close(compiled(x), plain_definition(layer, x))

    def test_compiles_add_coords(self):
        frames = torch.randint(0, 256, (2, 4, 5, 7), dtype=torch.uint8)
        compiled = torch.compile(add_coords, fullgraph=True, backend="eager")
        assert_close(compiled(frames, True), add_coords(frames, True))


def assert_onnx_computes_the_same(module, x, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated and warns about constants
        torch.onnx.export(module, (x,), path, verbose=False, **options)
    session = onnxruntime.InferenceSession(path)
    outs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        expected = module(x)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for out, tensor in zip(outs, expected, strict=True):
        np.testing.assert_allclose(out, tensor, rtol=1e-4, atol=1e-5)
    return session


class TestExport:
    @CLASSES
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_accepts_any_batch_size(self, make, mode):
        layer, x = make_layer_and_input(make)
        batch = torch.export.Dim("batch")
        with mode():
            layer(x)  # the cache must not become a constant of the program
            program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
            for n in (2, 7):
                x = torch.rand(n, *x.shape[1:])
                assert_close(program.module()(x), layer(x))
        assert set(program.state_dict) == {"weight", "bias"}
        assert not program.constants

    def test_accepts_any_image_size(self):
        layer, x = make_layer_and_input(CoordConv2d)
        axes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
        program = torch.export.export(layer, (x,), dynamic_shapes=(axes,))
        for size in [(5, 9), (20, 6)]:
            x = torch.rand(2, 4, *size)
            assert_close(program.module()(x), layer(x))

    def test_to_onnx_accepts_any_batch_size(self, tmp_path):
        network = nn.Sequential(CoordConv2d(4, 6, 3, stride=2, with_r=True), nn.ReLU()).eval()
        path = tmp_path / "network.onnx"
        batch = torch.export.Dim("batch")
        torch.onnx.export(
            network,
            (torch.rand(3, 4, 9, 11),),
            path,
            dynamo=True,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
        session = onnxruntime.InferenceSession(path)
        for n in (1, 5):
            x = torch.rand(n, 4, 9, 11)
            (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
            np.testing.assert_allclose(out, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)

    @CLASSES
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_to_onnx_by_tracing_accepts_a_channels_last_input(self, make, mode, tmp_path):
        layer, x = make_layer_and_input(make)
        x = x.movedim(1, -1).contiguous().movedim(-1, 1)
        with mode():
            assert_onnx_computes_the_same(layer, x, tmp_path / "layer.onnx", dynamo=False)

    def test_to_onnx_by_tracing_accepts_any_size(self, tmp_path):
        layer, x = make_layer_and_input(CoordConv2d)
        x = x.contiguous(memory_format=torch.channels_last)
        axes = {"x": {0: "batch", 2: "height", 3: "width"}}
        path, names = tmp_path / "layer.onnx", {"input_names": ["x"], "dynamic_axes": axes}
        session = assert_onnx_computes_the_same(layer, x, path, dynamo=False, **names)
        other = torch.rand(5, 4, 9, 6)
        (out,) = session.run(None, {"x": other.numpy()})
        np.testing.assert_allclose(out, layer(other).detach(), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("extractor", ["coordconv", "coordconv-all", "impala-coordconv"])
    @pytest.mark.parametrize("algorithm", [A2C, PPO, DQN])
    def test_of_a_policy_to_onnx_as_stable_baselines3_recommends(
        self, algorithm, extractor, tmp_path
    ):
        self.export_policy(algorithm, extractor, tmp_path / "policy.onnx", dynamo=False)

    def test_of_a_policy_to_onnx_by_the_newer_exporter(self, tmp_path, monkeypatch):
        # The argument checks of distributions cannot be exported with any extractor.
        monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
        self.export_policy(A2C, "coordconv", tmp_path / "policy.onnx", dynamo=True)

    def export_policy(self, algorithm, extractor, path, dynamo):
        class OnnxablePolicy(nn.Module):
            def __init__(self, policy):
                super().__init__()
                self.policy = policy

            def forward(self, observation):
                return self.policy(observation, deterministic=True)

        options = {"buffer_size": 1} if algorithm is DQN else {}
        kwargs = policy_kwargs(extractor)
        env = WhereIsTheSquare(n_channels=4)
        model = algorithm("CnnPolicy", env, policy_kwargs=kwargs, device="cpu", **options)
        policy = OnnxablePolicy(model.policy).eval()
        observation = torch.from_numpy(env.observation_space.sample()[None]).float()
        assert_onnx_computes_the_same(policy, observation, path, dynamo=dynamo)

    def test_to_torchscript_by_tracing(self):
        layer, x = make_layer_and_input(CoordConv2d)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated, and sizes become constants
            layer(x)
            traced = torch.jit.trace(layer, x)  # traces twice and compares
            layer.weight.mul_(2)
            assert_close(traced(x), plain_definition(layer, x))


class TestFx:
    """torch.fx traces torch's layers as one node each, and the inside of other layers."""

    @CLASSES
    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    @pytest.mark.parametrize("options", [{}, {"groups": 2, "bias": False}])
    def test_a_traced_network_computes_the_same_for_any_size(self, make, mode, options):
        layer = make(4, 6, 3, padding=1, with_r=True, **options)
        network = nn.Sequential(layer, nn.ReLU())
        with mode():
            traced = fx.symbolic_trace(network)
            for size in [(5, 7, 6), (8, 6, 9)]:
                x = torch.rand(3, 4, *size[: make.axes])
                assert_close(traced(x), network(x))
                assert_close(traced(x[0]), network(x[0]))
        assert set(traced.state_dict()) == set(network.state_dict())

    def test_a_single_layer_can_be_traced(self):
        layer, x = make_layer_and_input(CoordConv2d)
        assert_close(fx.symbolic_trace(layer)(x), layer(x))

    def test_a_traced_network_can_be_saved(self):
        network, x = nn.Sequential(CoordConv2d(4, 6, 3), nn.ReLU()), torch.rand(2, 4, 5, 7)
        file = io.BytesIO()
        torch.save(fx.symbolic_trace(network), file)
        file.seek(0)
        assert_close(torch.load(file, weights_only=False)(x), network(x))

    def test_padding_and_hooks_are_traced(self):
        layer = CoordConv2d(4, 6, 3, padding=1, padding_mode="circular")
        layer.register_forward_hook(lambda _layer, _inputs, out: 2 * out)
        network, x = nn.Sequential(layer), torch.rand(2, 4, 5, 7)
        assert_close(fx.symbolic_trace(network)(x), network(x))

    def test_a_traced_layer_learns(self):
        layer, x = make_layer_and_input(CoordConv2d)
        variables = list(layer.parameters())
        traced = torch.autograd.grad(fx.symbolic_trace(layer)(x).square().sum(), variables)
        assert_close(traced, torch.autograd.grad(layer(x).square().sum(), variables))

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_operations_recorded_by_make_fx_follow_the_weights(self, mode):
        layer, x = make_layer_and_input(CoordConv2d)
        with mode():
            layer(x)
            recorded = make_fx(layer)(x)
            with torch.no_grad():
                layer.weight.mul_(2)
            assert_close(recorded(x), layer(x))

    @pytest.mark.parametrize("make", [CoordConv2d, CoordConvTranspose2d])
    def test_torchvision_extracts_features(self, make):
        # Not a dependency of this package.
        extraction = pytest.importorskip("torchvision.models.feature_extraction")
        network = nn.Sequential(make(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 3, 1))
        extractor = extraction.create_feature_extractor(network, ["0", "1"])
        x = torch.rand(2, 4, 5, 7)
        assert_close(extractor(x), {"0": network[0](x), "1": network[:2](x)})


class TestFunc:
    """torch.func passes wrapped tensors, which a layer must not cache."""

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_an_ensemble_equals_its_members(self, mode):
        members = [CoordConv2d(4, 6, 3) for _ in range(3)]
        base, (stacked, _) = copy.deepcopy(members[0]), stack_module_state(members)
        x = torch.rand(3, 2, 4, 5, 7)
        with mode():
            base(x[0])

            def call(parameters, x):
                return functional_call(base, parameters, (x,))

            for _ in range(2):
                outs = vmap(call)(stacked, x)
                same_input = vmap(call, in_dims=(0, None))(stacked, x[0])
                for member, member_x, out, same in zip(members, x, outs, same_input, strict=True):
                    assert_close(out, plain_definition(member, member_x))
                    assert_close(same, plain_definition(member, x[0]))
            assert_close(base(x[0]), plain_definition(base, x[0]))

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
    def test_inputs_may_be_mapped_over(self, mode):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(3, 2, 4, 5, 7)
        with mode():
            for _ in range(2):
                assert_close(vmap(layer)(x).flatten(0, 1), layer(x.flatten(0, 1)))
                assert_close(vmap(layer)(x[0]), layer(x[0]))  # the layer gets input without a batch

    def test_per_sample_gradients_add_up(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(3, 4, 5, 7)
        parameters = {name: p.detach() for name, p in layer.named_parameters()}

        def loss(parameters, x):
            return functional_call(layer, parameters, (x,)).square().sum()

        per_sample = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
        plain_definition(layer, x).square().sum().backward()
        assert_close(per_sample["weight"].sum(0), layer.weight.grad)
        assert_close(per_sample["bias"].sum(0), layer.bias.grad)

    def test_a_layer_works_as_before_afterwards(self):
        layer, x = CoordConv2d(4, 6, 3), torch.rand(3, 4, 5, 7)
        grad(lambda x: layer(x).square().sum())(x)
        layer(x).sum().backward()
        with torch.no_grad():
            assert_close(layer(x), plain_definition(layer, x))


@pytest.fixture
def one_process(tmp_path):
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@CLASSES
def test_distributed_training_has_no_unused_parameters(make):
    layer, x = make_layer_and_input(make)
    parallel = nn.parallel.DistributedDataParallel(layer, find_unused_parameters=False)
    for _ in range(2):  # the second step raises if the first left parameters unused
        parallel(x).square().sum().backward()
    assert all(p.grad.count_nonzero() == p.numel() for p in layer.parameters())
