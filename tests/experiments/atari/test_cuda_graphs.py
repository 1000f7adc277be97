"""Trainings with ``--cuda-graphs on``, which on a CPU run the same code without graphs."""

import pytest
import torch
from atari_commands import SHORT_FLAGS, column, train
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy

from rl_coordconv.experiments import make_config
from rl_coordconv.speedups.groups import GroupedVecEnv

ON = "--cuda-graphs on --env-groups 2"
CLASSES = {"a2c": A2C, "ppo": PPO}


def weights(path):
    return torch.nn.utils.parameters_to_vector(A2C.load(path, device="cpu").policy.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_the_training_is_the_same(name, tmp_path):
    flags = "--total-timesteps 160 --eval-freq 80 --log-interval 1 --eval-episodes 1"
    plain, ours = (train(name, tmp_path / f, f"{flags} {f}") for f in ("--cuda-graphs off", ON))
    assert ours.folder.name == plain.folder.name
    assert ours.folder.parent.name == plain.folder.parent.name  # no variant of its own
    for metric in ("step", "train/value_loss", "train/entropy_loss", "train/explained_variance"):
        assert column(ours.progress, metric) == pytest.approx(
            column(plain.progress, metric), rel=1e-2, abs=1e-4
        )
    for metric in ("step", "episode_return", "length_frames"):
        assert column(ours.evaluations, metric) == column(plain.evaluations, metric)
    torch.testing.assert_close(
        weights(ours.final_model), weights(plain.final_model), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("name", ["a2c", pytest.param("ppo", marks=pytest.mark.slow)])
@pytest.mark.parametrize("then", ["--cuda-graphs off", ON])
def test_a_run_is_resumed_with_or_without(name, then, tmp_path, capsys):
    first = ON if then.endswith("off") else "--cuda-graphs off"
    run = train(name, tmp_path, f"{SHORT_FLAGS} {first}")
    for path in (run.done, run.final_model, run.saved[0]):  # as if it had been killed before
        path.unlink()
    (checkpoint,) = run.saved
    before = weights(checkpoint)
    capsys.readouterr()
    run = train(name, tmp_path, f"{SHORT_FLAGS} {then}")
    assert "resuming" in capsys.readouterr().out
    assert run.is_finished
    assert not torch.equal(weights(run.final_model), before)
    model = CLASSES[name].load(run.final_model, device="cpu")
    assert isinstance(model.policy, ActorCriticCnnPolicy)
    assert isinstance(model.policy.optimizer.param_groups[0]["lr"], float)


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        ({}, "cuda", (False, 1)),
        ({"cuda_graphs": "auto"}, "cpu", (False, 1)),
        ({"cuda_graphs": "auto"}, "cuda", (True, 2)),
        ({"cuda_graphs": "auto"}, "cuda:1", (True, 2)),
        ({"cuda_graphs": "auto", "n_envs": 4}, "cuda", (True, 1)),
        ({"cuda_graphs": "auto", "n_envs": 9}, "cuda", (True, 1)),
        ({"cuda_graphs": "auto", "backend": "sb3"}, "cuda", (True, 1)),
        ({"cuda_graphs": False}, "cuda", (False, 1)),  # YAML's off
        ({"cuda_graphs": "on"}, "cpu", (True, 1)),
        ({"env_groups": 4}, "cpu", (False, 4)),
    ],
)
def test_both_are_used_where_they_are_faster(settings, device, expected):
    config = make_config("a2c", **settings)
    assert (config.uses_cuda_graphs(device), config.number_of_groups(device)) == expected


def test_groups_share_the_threads_and_play_all_games():
    from rl_coordconv.experiments.atari.train import make_env

    env = make_env(make_config("a2c", n_envs=4, num_threads=2), n_groups=2)
    assert isinstance(env, GroupedVecEnv)
    assert [group.num_envs for group in env.groups] == [2, 2]
    env.close()


def test_groups_of_unequal_size_are_refused():
    with pytest.raises(ValueError, match=r"env_groups 3 must divide n_envs = 16\."):
        make_config("a2c", env_groups=3)
