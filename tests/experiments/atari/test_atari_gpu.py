"""Training on a GPU with every option, resuming and evaluation on either device, and DQN."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from atari_commands import SHORT_FLAGS, column, train
from games import WhereIsTheSquare
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_util import make_vec_env

from rl_coordconv import policy_kwargs
from scripts import load_script

pytestmark = pytest.mark.gpu


def weights(file: Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    return A2C.load(file, device=device).policy.state_dict()


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("a2c", "--extractor coordconv --n-envs 16"),
        ("a2c", "--extractor nature-noise --backend sb3"),
        ("a2c", "--extractor impala-coordconv --precision bf16"),
        ("ppo", "--extractor coordconv-all --precision bf16"),
        ("ppo", "--extractor coordconv-r --protocol sticky"),
    ],
)
def test_every_choice_trains(name, flags, tmp_path, cuda):
    steps = "--total-timesteps 2000 --eval-freq 1000 --save-freq 1000"
    run = train(name, tmp_path, f"{flags} {steps} --device {cuda}")
    assert run.is_finished
    assert json.loads(run.versions.read_text())["device"] == str(cuda)
    assert len(column(run.evaluations, "step")) == 2
    model = {"a2c": A2C, "ppo": PPO}[name].load(run.final_model, device="cpu")
    assert all(value.isfinite().all() for value in model.policy.parameters())


def test_equal_seeds_train_equal_weights(tmp_path, cuda, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    flags = f"--total-timesteps 400 --eval-freq 0 --device {cuda}"
    one, other = (weights(train("a2c", tmp_path / n, flags).final_model) for n in "ab")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("name", ["a2c", "ppo"])
@pytest.mark.parametrize("where", ["gpu gpu", "gpu cpu", "cpu gpu"])
def test_resumes_and_plays_on_either_device(name, where, tmp_path, cuda, capsys):
    first, second = (cuda if one == "gpu" else "cpu" for one in where.split())
    run = train(name, tmp_path, f"{SHORT_FLAGS} --device {first}")
    for path in (run.done, run.final_model, run.saved[0]):  # as if it had been killed before
        path.unlink(missing_ok=True)
    (checkpoint,) = run.saved
    capsys.readouterr()
    run = train(name, tmp_path, f"{SHORT_FLAGS} --device {second}")
    assert "resuming" in capsys.readouterr().out
    assert run.is_finished
    assert column(run.progress, "step") == sorted(set(column(run.progress, "step")))
    before, after = weights(checkpoint), weights(run.final_model)
    assert not all(torch.equal(value, before[key]) for key, value in after.items())
    for device in (first, second):
        flags = [run.folder, "--episodes", 1, "--n-envs", 1, "--device", device]
        assert load_script("evaluate").main([*map(str, flags)]) == 0
    images = torch.randint(0, 256, (8, 4, 84, 84), dtype=torch.uint8)
    values = []
    for device in ("cpu", cuda):
        policy = A2C.load(run.final_model, device=device).policy
        with torch.no_grad():
            values.append(policy.predict_values(images.to(device)).cpu())
    torch.testing.assert_close(*values, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_dqn_learns_with_our_extractor(precision, tmp_path, cuda):
    env = make_vec_env(WhereIsTheSquare, n_envs=2, seed=0)
    kwargs = policy_kwargs("coordconv", features_extractor_kwargs={"precision": precision})
    settings = {"buffer_size": 500, "learning_starts": 50, "target_update_interval": 20}
    model = DQN("CnnPolicy", env, policy_kwargs=kwargs, seed=0, device=cuda, **settings)
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(400)
    assert any(
        not torch.equal(p, q) for p, q in zip(model.policy.parameters(), before, strict=True)
    )
    model.save(tmp_path / "model")
    images = torch.randint(0, 256, (8, 1, 36, 36), dtype=torch.uint8)
    values = []
    for device in ("cpu", cuda):
        policy = DQN.load(tmp_path / "model", device=device).policy
        with torch.no_grad():
            values += [policy.q_net(images.to(device)), policy.q_net_target(images.to(device))]
    for on_cpu, on_gpu in zip(values[:2], values[2:], strict=True):
        torch.testing.assert_close(on_cpu, on_gpu.cpu(), rtol=0.05, atol=0.05)
