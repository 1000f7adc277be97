import gc
from collections import Counter

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.vec_env import VecEnvWrapper
from torch import nn
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from rl_coordconv import policy_kwargs
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
from rl_coordconv.speedups.policy import OrderedRolloutBuffer, ReuseCnnPolicy

N_ENVS, N_STEPS = 2, 5
SPACES = spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(9)
# As fractions of the number that Stable-Baselines3 needs.
MOST_OPERATIONS = {"a2c": 1.0, "ppo": 0.75}
conv2d = torch.ops.aten.convolution.default
REUSE = {"reuse_steps": 3}


class NoisyRewards(VecEnvWrapper):
    """A reward at every step: Ms. Pac-Man has none in the first 50 steps."""

    def __init__(self):
        super().__init__(make_atari_env("MsPacman", N_ENVS))

    def reset(self):
        self._random = np.random.default_rng(0)
        return self.venv.reset()

    def step_wait(self):
        observations, _, dones, infos = self.venv.step_wait()
        return observations, self._random.normal(size=N_ENVS).astype(np.float32), dones, infos


class Operations(TorchDispatchMode):
    """Counts torch's operations."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def env():
    env = NoisyRewards()
    yield env
    env.close()


@pytest.fixture
def make_model(env):
    """Make models that share their games, so train one after the other."""

    def make(algorithm, kind, extractor="coordconv", precision="float32", device="cpu"):
        network = {"features_extractor_kwargs": {"precision": precision}}
        settings = {"ent_coef": 0.01, "vf_coef": 0.25, "seed": 0, "device": device}
        settings |= {"n_steps": N_STEPS, "policy": "CnnPolicy"}
        if algorithm == "ppo":
            optimizer = torch.optim.Adam if kind == "sb3" else LightAdam
            settings |= {"batch_size": 5, "n_epochs": 2}
        else:
            optimizer = RMSpropTFLike if kind == "sb3" else LightRMSpropTFLike
        kwargs = policy_kwargs(extractor, optimizer_class=optimizer, **network)
        # Adam divides by the gradient, which amplifies rounding; a large epsilon limits this.
        kwargs["optimizer_kwargs"] = {"eps": 1e-5 if algorithm == "a2c" else 0.1}
        if algorithm == "a2c" and kind == "ours":
            kwargs["reuse_steps"] = N_STEPS
            settings |= {
                "policy": ReuseCnnPolicy,
                "rollout_buffer_class": OrderedRolloutBuffer,
            }
        model_class = {"a2c": A2C, "ppo": PPO}[algorithm]
        return model_class(env=env, policy_kwargs=kwargs, **settings)

    return make


def weights(model):
    return {name: value.clone() for name, value in model.policy.named_parameters()}


def learn(model, updates=1):
    model.learn(updates * N_ENVS * N_STEPS, reset_num_timesteps=False)


class TestUpdate:
    """An update leads to the same weights as Stable-Baselines3's."""

    @pytest.mark.parametrize("precision", ["float32", pytest.param("bf16", marks=pytest.mark.slow)])
    @pytest.mark.parametrize("extractor", ["nature", "coordconv", "coordconv-all"])
    @pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
    def test_equals_sb3s_up_to_rounding(self, make_model, algorithm, extractor, precision):
        # Some CPUs round a batch in bf16 otherwise than its parts; bf16's own precision is 0.004.
        rounding = 2e-3 if precision == "float32" else 0.02
        self._check(make_model, algorithm, extractor, precision, rounding=rounding)

    @pytest.mark.gpu
    @pytest.mark.parametrize("precision", ["float32", "bf16"])
    @pytest.mark.parametrize("extractor", ["nature", "coordconv", "impala-coordconv"])
    @pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
    def test_equals_sb3s_on_a_gpu(self, make_model, algorithm, extractor, precision, cuda):
        # Small and large batches may be convolved in float32 and TF32.
        self._check(make_model, algorithm, extractor, precision, device=cuda, rounding=0.02)

    @staticmethod
    def _check(make_model, *network, device="cpu", rounding):
        algorithm, *settings = network
        sb3, ours = (make_model(algorithm, kind, *settings, device) for kind in ("sb3", "ours"))
        start = weights(sb3)
        for model in (sb3, ours):
            model.set_random_seed(0)
            learn(model, updates=2)
        theirs = weights(sb3)
        for name, value in weights(ours).items():
            moved = theirs[name] - start[name]
            assert (value - theirs[name]).norm() < rounding * moved.norm(), name

    @pytest.mark.gpu
    @pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
    def test_does_not_leak_gpu_memory(self, make_model, algorithm, cuda):
        if cuda.type != "cuda":
            pytest.skip("Memory is counted on a GPU only.")
        model = make_model(algorithm, "ours", device=cuda)
        used = []
        for _ in range(4):
            learn(model, updates=10)
            gc.collect()  # Stable-Baselines3's callbacks hold the last images, and themselves
            used.append(torch.cuda.memory_allocated())
        assert used[1:] == used[1:2] * 3

    def test_of_a2c_supports_residual_blocks(self, make_model):
        self.test_equals_sb3s_up_to_rounding(make_model, "a2c", "impala-coordconv-all", "float32")

    def test_of_a2c_computes_no_forward_pass(self, make_model):
        model = make_model("a2c", "ours")
        learn(model)
        _, callback = model._setup_learn(10**6, reset_num_timesteps=False)
        with Operations() as rollout:
            model.collect_rollouts(model.get_env(), callback, model.rollout_buffer, N_STEPS)
        with Operations() as update:
            model.train()
        assert rollout.counts[conv2d] == 3 * (N_STEPS + 1) + 1  # the positional map, computed once
        assert update.counts[conv2d] == 0

    @pytest.mark.parametrize("n_steps", [1, 5])
    def test_of_a2c_with_a_single_game_equals_sb3s(self, n_steps):
        trained = []
        for ours in (False, True):
            env = make_atari_env("MsPacman", 1, seed=0)
            kwargs = policy_kwargs("coordconv", optimizer_class=RMSpropTFLike)
            buffer = OrderedRolloutBuffer if ours else None
            if ours:
                kwargs["reuse_steps"] = n_steps
            policy = ReuseCnnPolicy if ours else "CnnPolicy"
            settings = {"n_steps": n_steps, "policy_kwargs": kwargs, "seed": 0, "device": "cpu"}
            model = A2C(policy, env, rollout_buffer_class=buffer, **settings)
            model.learn(2 * n_steps)
            env.close()
            trained.append(weights(model))
        torch.testing.assert_close(*trained, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("extractor", ["nature", "coordconv"])
    @pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
    def test_and_rollout_need_fewer_operations(self, make_model, algorithm, extractor, monkeypatch):
        # Importing torch's compiler, as other tests do, disables argument checks of distributions.
        monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)
        counts = {}
        for kind in ("sb3", "ours"):
            model = make_model(algorithm, kind, extractor)
            learn(model)
            with Operations() as operations:
                learn(model)
            counts[kind] = operations.counts.total()
        assert counts["ours"] < MOST_OPERATIONS[algorithm] * counts["sb3"]


class TestPolicy:
    """The policy equals CnnPolicy."""

    @pytest.fixture(params=["nature", "coordconv"])
    def policies(self, request):
        made = []
        for policy_class, own in ((ActorCriticCnnPolicy, {}), (ReuseCnnPolicy, REUSE)):
            torch.manual_seed(0)
            kwargs = policy_kwargs(request.param, **own)
            made.append(policy_class(*SPACES, lambda _: 1e-3, **kwargs))
        return made

    @pytest.fixture
    def images(self):
        generator = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (6, 4, 84, 84), dtype=torch.uint8, generator=generator)

    @pytest.mark.parametrize("deterministic", [True, False])
    def test_chooses_the_same_actions(self, policies, images, deterministic):
        chosen = []
        for policy in policies:
            torch.manual_seed(1)
            with torch.no_grad():
                chosen.append(policy(images, deterministic))
        (actions, values, log_probs), ours = chosen
        assert torch.equal(actions, ours[0])
        torch.testing.assert_close((values, log_probs), ours[1:])

    def test_evaluates_actions_equally(self, policies, images):
        sb3, ours = (policy.evaluate_actions(images, torch.arange(6)) for policy in policies)
        torch.testing.assert_close(sb3, ours)
        torch.testing.assert_close(*(policy.predict_values(images) for policy in policies))

    def test_does_not_scale_images_that_are_already_scaled(self):
        space = spaces.Box(0, 1, (4, 84, 84), np.float32)
        kwargs = policy_kwargs("coordconv", normalize_images=False)
        images = torch.rand(2, 4, 84, 84)
        before = images.clone()
        results = []
        for policy_class, own in ((ActorCriticCnnPolicy, {}), (ReuseCnnPolicy, REUSE)):
            torch.manual_seed(0)
            policy = policy_class(space, SPACES[1], lambda _: 1e-3, **kwargs, **own)
            results.append(policy.predict_values(images))
        torch.testing.assert_close(*results)
        assert torch.equal(images, before)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float64])
    def test_accepts_every_dtype_with_normalize_images_false(self, policies, dtype):
        space = spaces.Box(0, 1, (4, 84, 84), dtype)
        kwargs = policy_kwargs("coordconv", normalize_images=False)
        policy = ReuseCnnPolicy(space, SPACES[1], lambda _: 1e-3, **kwargs, **REUSE)
        images = torch.as_tensor(np.ones((2, 4, 84, 84), dtype))
        assert policy.predict_values(images).shape == (2, 1)

    def test_does_not_modify_its_input(self, policies):
        images = torch.full((2, 4, 84, 84), 100.0)
        first, second = (policies[1].predict_values(images) for _ in range(2))
        assert torch.equal(first, second)
        assert images.unique().tolist() == [100]

    def test_predicts_in_inference_mode(self, images):
        policy = ReuseCnnPolicy(*SPACES, lambda _: 1e-3, **policy_kwargs("coordconv", **REUSE))
        with torch.inference_mode():
            assert policy(images)[0].shape == (6,)

    def test_separate_extractors_are_an_error(self):
        with pytest.raises(ValueError, match="needs share_features_extractor=True"):
            ReuseCnnPolicy(*SPACES, lambda _: 1e-3, share_features_extractor=False, **REUSE)

    def test_is_saved_with_its_constructor_arguments(self, tmp_path):
        policy = ReuseCnnPolicy(*SPACES, lambda _: 1e-3, **policy_kwargs("coordconv", **REUSE))
        policy.save(tmp_path / "policy.pt")
        loaded = ReuseCnnPolicy.load(tmp_path / "policy.pt")
        assert loaded._get_constructor_parameters()["reuse_steps"] == 3


WAYS = {
    "export": lambda module, x: torch.export.export(module, (x,)).module()(x),
    "strict export": lambda module, x: torch.export.export(module, (x,), strict=True).module()(x),
    "trace": lambda module, x: torch.jit.trace(module, (x,))(x),
    "compile": lambda module, x: torch.compile(module, fullgraph=True, backend="eager")(x),
    "fake tensors": lambda module, x: make_fx(
        module, tracing_mode="fake", _allow_non_fake_inputs=True
    )(x)(x),
}


class Acts(nn.Module):
    """A wrapper for export, as in Stable-Baselines3's documentation."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def forward(self, images):
        return self.policy(images, deterministic=True)


class Learns(Acts):
    def forward(self, images):
        return self.policy.evaluate_actions(images, torch.zeros(len(images)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", [Acts, Learns])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.filterwarnings("ignore")  # tracers warn about Stable-Baselines3's distribution
def test_is_traced_like_sb3s_and_records_nothing_while_traced(way, module, grad):
    # Dynamo cannot trace Stable-Baselines3's check of uint8 images.
    settings = policy_kwargs("coordconv-all", reuse_steps=1, normalize_images=False)
    policy = ReuseCnnPolicy(*SPACES, lambda _: 1e-3, **settings)
    images = torch.rand(2, 4, 84, 84)
    Distribution.set_default_validate_args(False)  # torch cannot export its own checks
    try:
        with torch.set_grad_enabled(grad):
            expected = module(policy)(images)
            torch.compiler.reset()
            policy.extract_features(images)  # as in a rollout: recorded without gradients
            torch.testing.assert_close(WAYS[way](module(policy), images), expected)
        policy.evaluate_actions(images, torch.zeros(2))[0].sum().backward()  # with real tensors
    finally:
        Distribution.set_default_validate_args(__debug__)
        torch.compiler.reset()


def test_a_whole_rollout_is_returned_in_order():
    buffer = OrderedRolloutBuffer(3, *SPACES, device="cpu", n_envs=2)
    for step in range(3):
        images = np.full((2, 4, 84, 84), step, dtype=np.uint8)
        images[1] += 10
        number = torch.full((2,), float(step))
        buffer.add(images, np.full(2, step), np.ones(2), np.zeros(2), number, -number)
    buffer.compute_returns_and_advantage(torch.zeros(2), np.ones(2))
    (batch,) = buffer.get()
    assert batch.observations[:, 0, 0, 0].tolist() == [0, 10, 1, 11, 2, 12]
    assert batch.actions.flatten().tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.old_values.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.old_log_prob.tolist() == [0, 0, -1, -1, -2, -2]
    assert np.shares_memory(batch.observations.numpy(), buffer.observations)
    shuffled = torch.cat([part.observations[:, 0, 0, 0] for part in buffer.get(4)])
    assert sorted(shuffled.tolist()) == [0, 1, 2, 10, 11, 12]
    assert next(buffer.get()).observations.shape == (6, 4, 84, 84)
