"""A2C and PPO with captured graphs, side by side with Stable-Baselines3's on the same games."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from games import WhereIsTheSquare
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

from rl_coordconv import policy_kwargs
from rl_coordconv.envs.atari import make_atari_env
from rl_coordconv.speedups.captured import CapturedA2C, CapturedPPO
from rl_coordconv.speedups.groups import GroupedVecEnv
from rl_coordconv.speedups.optimizers import LightAdam, LightRMSpropTFLike
from rl_coordconv.speedups.policy import ReuseCnnPolicy

N_ENVS, N_STEPS, N_UPDATES = 4, 5, 20
CLASSES = {"a2c": (A2C, CapturedA2C), "ppo": (PPO, CapturedPPO)}


class Squares(gym.Wrapper):
    """`WhereIsTheSquare` with episodes of up to ten steps, cut by a time limit after four."""

    def __init__(self):
        super().__init__(gym.wrappers.TimeLimit(Endless(), 4))


class Endless(WhereIsTheSquare):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, bool(self.np_random.random() < 0.1), truncated, info


class Watcher(BaseCallback):
    """Notes what a callback sees at each step, and the logs of each update."""

    def __init__(self):
        super().__init__()
        self.steps, self.logs = [], []

    def _on_rollout_start(self):
        self.logs.append(dict(self.logger.name_to_value))

    def _on_step(self):
        seen = self.locals
        infos = [{k: v for k, v in info.items() if k != "episode"} for info in seen["infos"]]
        kept = (seen["n_steps"], seen["actions"], seen["new_obs"], seen["rewards"], seen["dones"])
        tensors = [seen[k].cpu().numpy() for k in ("obs_tensor", "values", "log_probs")]
        self.steps.append((self.num_timesteps, *map(np.copy, (*kept, *tensors)), infos))
        return True


def make_env(n_groups=1):
    groups = [make_vec_env(Squares, n_envs=N_ENVS // n_groups) for _ in range(n_groups)]
    return GroupedVecEnv(groups) if n_groups > 1 else groups[0]


def make_model(model_class, env=None, *, extractor="coordconv", precision="float32", **settings):
    is_a2c = issubclass(model_class, A2C)
    # Adam divides by the gradient, which amplifies rounding; a large epsilon limits this.
    kwargs = policy_kwargs(
        extractor,
        optimizer_class=LightRMSpropTFLike if is_a2c else LightAdam,
        optimizer_kwargs={"eps": 1e-5 if is_a2c else 0.1},
        features_extractor_kwargs={"precision": precision},
    )
    shared = {"n_steps": N_STEPS, "ent_coef": 0.01, "vf_coef": 0.25, "seed": 0, "device": "cpu"}
    if not is_a2c:
        shared |= {"batch_size": 10, "n_epochs": 2}
    kwargs |= settings.pop("policy_kwargs", {})
    env = env or make_env()
    return model_class("CnnPolicy", env, policy_kwargs=kwargs, **{**shared, **settings})


def learn(model, updates=N_UPDATES, callback=None, **settings):
    n = N_ENVS * N_STEPS * updates
    return model.learn(n, callback, reset_num_timesteps=False, **settings)


def assert_same_weights(ours, theirs, start, rounding=1e-4):
    """Assert that weights differ by a small fraction of the distance that they moved."""
    reference = theirs.policy.state_dict()
    for name, value in ours.policy.state_dict().items():
        moved = (reference[name].cpu() - start[name]).norm()
        assert moved > 0
        assert (value - reference[name]).norm().cpu() < rounding * moved, name


def initial(model_class, **settings):
    return make_model(model_class, **{**settings, "device": "cpu"}).policy.state_dict()


@pytest.fixture
def exact_cuda(cuda):
    """Return the GPU, without TensorFloat-32, whose rounding depends on the size of a batch."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    yield cuda
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


SETTINGS = {
    "plain": {},
    "nature": {"extractor": "nature"},
    "bf16": {"precision": "bf16"},
    "schedules": {"learning_rate": LinearSchedule(1e-3, 0, 1)},
    "normalised": {"normalize_advantage": True, "gae_lambda": 0.9, "max_grad_norm": 0.01},
}
OF_PPO = {
    "clip schedule": {"clip_range": LinearSchedule(0.02, 0.002, 1), "learning_rate": 0.01},
    "clipped values": {"clip_range_vf": 0.001, "normalize_advantage": False},
    "ragged batches": {"batch_size": 8},
}
CASES = [(algorithm, name) for algorithm in CLASSES for name in SETTINGS]
CASES += [("ppo", name) for name in OF_PPO]


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize(("algorithm", "name"), CASES)
class TestUpdates:
    def test_equal_sb3s_up_to_rounding(self, algorithm, name):
        self._check(algorithm, name, "cpu", 0.02 if name == "bf16" else 1e-3)

    @pytest.mark.gpu
    def test_equal_sb3s_on_a_gpu(self, algorithm, name, exact_cuda):
        self._check(algorithm, name, exact_cuda, 0.05 if name == "bf16" else 1e-2)

    @staticmethod
    def _check(algorithm, name, device, rounding):
        settings = {"device": device, **(SETTINGS | OF_PPO)[name]}
        sb3, captured = CLASSES[algorithm]
        theirs, ours = (learn(make_model(c, **settings)) for c in (sb3, captured))
        assert_same_weights(ours, theirs, initial(sb3, **settings), rounding)


@pytest.mark.parametrize("algorithm", CLASSES)
class TestTraining:
    @pytest.mark.parametrize("n_groups", [1, 2])
    def test_callbacks_and_logs_are_those_of_sb3(self, algorithm, n_groups):
        watchers = []
        for model_class, groups in zip(CLASSES[algorithm], (1, n_groups), strict=True):
            watchers.append(Watcher())
            model = make_model(model_class, make_env(groups))
            learn(model, 6, watchers[-1])
            assert len(model.ep_info_buffer) > 3
        theirs, ours = watchers
        assert any(info["TimeLimit.truncated"] for step in theirs.steps for info in step[-1])
        for one, other in zip(ours.steps, theirs.steps, strict=True):
            np.testing.assert_equal(one[:6], other[:6])
            np.testing.assert_equal(one[9:], other[9:])
            for values, expected in zip(one[6:9], other[6:9], strict=True):
                np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-6)
        for one, other in zip(ours.logs, theirs.logs, strict=True):
            assert one == pytest.approx(other, rel=1e-2, abs=1e-5)

    def test_trajectories_of_the_real_game_do_not_depend_on_the_groups(self, algorithm):
        seen = []
        for n_groups in (1, 2):
            parts = [make_atari_env("MsPacman", 4 // n_groups) for _ in range(n_groups)]
            env = GroupedVecEnv(parts) if n_groups > 1 else parts[0]
            watcher = Watcher()
            model = make_model(CLASSES[algorithm][1], env)
            learn(model, 4, watcher)
            env.close()
            seen.append(watcher.steps)
        for one, other in zip(*seen, strict=True):
            for a, b in zip(one[:6], other[:6], strict=True):
                np.testing.assert_array_equal(a, b)

    def test_coefficients_may_change_between_updates(self, algorithm):
        trained = []
        for model_class in CLASSES[algorithm]:
            model = learn(make_model(model_class), 5)
            before = {name: x.clone() for name, x in model.policy.state_dict().items()}
            model.ent_coef, model.vf_coef = 0.5, 0.1
            trained.append(learn(model, 5))
        assert_same_weights(trained[1], trained[0], before, 1e-3)

    def test_a_callback_stops_it_and_it_can_continue(self, algorithm):
        class Stop(Watcher):
            def _on_step(self):
                super()._on_step()
                return len(self.steps) < 8

        for n_groups in (1, 2):
            model, stop = make_model(CLASSES[algorithm][1], make_env(n_groups)), Stop()
            learn(model, 10, stop)
            assert (len(stop.steps), model.num_timesteps) == (8, 8 * N_ENVS)
            learn(model, 2)
            assert model.num_timesteps == (8 + 2 * N_STEPS) * N_ENVS

    def test_weights_that_are_nan_show_in_the_losses(self, algorithm):
        model = make_model(CLASSES[algorithm][1])
        with torch.no_grad():
            model.policy.value_net.weight.fill_(torch.nan)
        learn(model, 2)
        assert np.isnan(model.logger.name_to_value["train/value_loss"])


@pytest.mark.parametrize("algorithm", CLASSES)
class TestFiles:
    def test_are_sb3s_and_training_continues_in_either(self, algorithm, tmp_path):
        self._check(algorithm, tmp_path, "cpu")

    @pytest.mark.gpu
    def test_continue_with_new_graphs(self, algorithm, tmp_path, exact_cuda):
        self._check(algorithm, tmp_path, exact_cuda, 1e-2)

    @staticmethod
    def _check(algorithm, folder, device, rounding=1e-3):
        """Save after 5 updates; then train 5 more in either class from either class's file."""
        sb3, captured = CLASSES[algorithm]
        trained = {}
        for first in (sb3, captured):
            model = learn(make_model(first, learning_rate=LinearSchedule(1e-3, 0, 1)), 5)
            model.save(folder / "model.zip")
            for second in (sb3, captured):
                loaded = second.load(folder / "model.zip", make_env(), device=device)
                assert loaded.policy.optimizer.state
                loaded.set_random_seed(1)
                trained[first, second] = learn(loaded, 5)
                (group,) = loaded.policy.optimizer.param_groups
                assert torch.is_tensor(group["lr"]) == (second is captured)
        for pair in ((sb3, captured), (captured, sb3), (captured, captured)):
            start = model.policy.state_dict()
            assert_same_weights(trained[pair], trained[sb3, sb3], start, rounding)

    @pytest.mark.gpu
    def test_parameters_set_in_place_reach_the_graphs(self, algorithm, exact_cuda):
        trained = []
        for model_class in CLASSES[algorithm]:
            model = learn(make_model(model_class, device=exact_cuda), 6)
            model.set_parameters(
                make_model(model_class, device=exact_cuda, seed=1).get_parameters()
            )
            start = {name: x.cpu().clone() for name, x in model.policy.state_dict().items()}
            trained.append(learn(model, 6))
        assert_same_weights(trained[1], trained[0], start, 1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("algorithm", CLASSES)
def test_groups_and_graphs_give_the_same_training_on_a_gpu(algorithm, exact_cuda, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    weights = []
    for n_groups in (2, 2, 1):
        model = learn(make_model(CLASSES[algorithm][1], make_env(n_groups), device=exact_cuda))
        weights.append(nn.utils.parameters_to_vector(model.policy.parameters()))
    assert torch.equal(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"policy_kwargs": {"optimizer_class": torch.optim.Adam}}, "LightRMSpropTFLike"),
        ({"policy_kwargs": {"share_features_extractor": False}}, "shared extractor"),
        ({"target_kl": 0.1}, "target_kl"),
    ],
)
def test_unsupported_settings_are_an_error(settings, reason):
    with pytest.raises(ValueError, match=reason):
        make_model(CapturedPPO, **settings)


def test_other_action_spaces_are_an_error():
    class Many(WhereIsTheSquare):
        def __init__(self):
            super().__init__()
            self.action_space = gym.spaces.MultiDiscrete([2, 2])

    with pytest.raises(ValueError, match="needs a Discrete action space"):
        make_model(CapturedA2C, make_vec_env(Many))


def test_the_reusing_policy_is_an_error():
    kwargs = policy_kwargs("nature", reuse_steps=5)
    with pytest.raises(ValueError, match="needs a policy such as CnnPolicy"):
        CapturedA2C(ReuseCnnPolicy, make_env(), policy_kwargs=kwargs, device="cpu")
