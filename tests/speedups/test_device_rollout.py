import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.utils import explained_variance

from rl_coordconv.speedups.device_rollout import DeviceRollout

N_STEPS, N_ENVS, N_ACTIONS = 7, 3, 4
IMAGES = spaces.Box(0, 255, (1, 2, 2), np.uint8)


def fill(rollout, buffer):
    """Add the same random steps to our rollout and to SB3's buffer; return the last dones."""
    random = np.random.default_rng(0)
    starts = random.random((N_STEPS + 1, N_ENVS)) < 0.3
    values = torch.from_numpy(random.normal(size=(N_STEPS + 1, N_ENVS)).astype(np.float32))
    rollout.begin(starts[0])
    rollout.values.copy_(values)
    for step in range(N_STEPS):
        images = random.integers(0, 256, (N_ENVS, *IMAGES.shape), dtype=np.uint8)
        actions = random.integers(0, N_ACTIONS, N_ENVS)
        rewards = random.normal(size=N_ENVS).astype(np.float32)
        buffer.add(images, actions, rewards, starts[step], values[step], values[step] / 2)
        rollout.observations[step] = torch.from_numpy(images)
        rollout.actions[step] = torch.from_numpy(actions)
        rollout.log_probs[step] = values[step] / 2
        rollout.record(step, rewards, starts[step + 1])
    buffer.compute_returns_and_advantage(values[-1], starts[-1])


@pytest.fixture
def pair():
    device = torch.device("cpu")
    return (
        DeviceRollout(N_STEPS, N_ENVS, IMAGES, N_ACTIONS, device),
        RolloutBuffer(N_STEPS, IMAGES, spaces.Discrete(N_ACTIONS), device, 0.9, 0.8, N_ENVS),
    )


def test_estimates_equal_sb3s(pair):
    rollout, buffer = pair
    fill(rollout, buffer)
    explained = rollout.estimate(rollout.outcomes(), buffer.gamma, buffer.gae_lambda)
    np.testing.assert_array_equal(rollout.advantages.numpy(), buffer.advantages)
    np.testing.assert_array_equal(rollout.returns.numpy(), buffer.returns)
    expected = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
    assert explained.item() == pytest.approx(expected, abs=1e-6)


def test_explained_variance_of_equal_returns_is_nan(pair):
    rollout, _ = pair
    rollout.begin(np.zeros(N_ENVS, bool))
    assert rollout.estimate(rollout.outcomes(), 0.9, 1.0).isnan()


def test_samples_are_those_of_sb3s_buffer_in_the_order_of_the_steps(pair):
    rollout, buffer = pair
    fill(rollout, buffer)
    rollout.estimate(rollout.outcomes(), buffer.gamma, buffer.gae_lambda)
    np.random.seed(0)  # noqa: NPY002 - Stable-Baselines3 uses it
    (expected,) = buffer.get()
    np.random.seed(0)  # noqa: NPY002 - Stable-Baselines3 uses it
    shuffled = np.random.permutation(N_STEPS * N_ENVS)  # noqa: NPY002 - see above
    shuffled = torch.from_numpy(shuffled)
    games, steps = shuffled // N_STEPS, shuffled % N_STEPS
    samples = rollout.samples(steps * N_ENVS + games)
    for ours, theirs in zip(samples, expected, strict=True):
        assert torch.equal(ours.float(), theirs.reshape(ours.shape).float())


def test_noise_draws_the_actions_of_sb3s_policy(pair):
    rollout, _ = pair
    probs = torch.rand(N_STEPS, N_ENVS, N_ACTIONS)
    torch.manual_seed(0)
    expected = [torch.multinomial(each, 1, replacement=True)[:, 0] for each in probs]
    torch.manual_seed(0)
    rollout.begin(np.zeros(N_ENVS, bool))
    assert torch.equal((probs / rollout.noise[:-1]).argmax(-1), torch.stack(expected))
