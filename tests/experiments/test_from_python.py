"""Training from Python with `make_config` and `train`."""

import signal

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback

from rl_coordconv.experiments import Result, make_config, train
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run

A2C_SETTINGS = {"n_envs": 2, "eval_episodes": 1, "eval_freq": 0, "log_interval": 1}
TOY_SETTINGS = {"preset": "quick", "canvas": 24, "square": 5, "n_epochs": 2}


@pytest.fixture
def settings(tmp_path) -> dict[str, object]:
    return {"log_dir": str(tmp_path), "num_threads": 1, "device": "cpu"}


def test_a_config_has_the_defaults_of_its_file_and_the_given_settings(settings):
    config = make_config("ppo", extractor="nature", learning_rate=1e-3, **settings)
    assert (config.extractor, config.learning_rate, config.clip_range) == ("nature", 1e-3, 0.1)
    assert config.folder.parts[-4:] == ("ppo", "MsPacman", "nature-learning_rate-0.001", "seed-0")


def test_numbers_may_be_numpy_scalars_or_floats(settings):
    config = make_config("a2c", gamma=np.float32(0.5), total_timesteps=1e6, n_envs=np.int64(8))
    assert (config.gamma, config.total_timesteps, config.n_envs) == (0.5, 1_000_000, 8)


@pytest.mark.parametrize(
    ("experiment", "wrong", "sentence"),
    [
        ("a2d", {}, "There is no experiment 'a2d'; did you mean a2c?"),
        ("a2c", {"lerning_rate": 1}, "lerning_rate is not a setting; did you mean learning_rate?"),
        ("a2c", {"gamma": 2}, "make_config: gamma must be at most 1"),
        ("a2c", {"n_envs": 1.5}, "make_config: n_envs must be a whole number, not 1.5."),
        ("toy", {"task": "x"}, "There is no task 'x'"),
    ],
)
def test_a_wrong_setting_is_a_one_sentence_error(experiment, wrong, sentence):
    with pytest.raises(UserError) as error:
        make_config(experiment, **wrong)
    assert sentence in str(error.value)


def test_a_file_may_contain_some_settings(tmp_path, settings):
    file = tmp_path / "mine.yaml"
    file.write_text("gamma: 0.5\nn_steps: 8\n")
    config = make_config("a2c", config=file, n_steps=16, **settings)
    assert (config.gamma, config.n_steps) == (0.5, 16)


def test_every_variant_has_its_own_folder(settings):
    one = make_config("a2c", **settings)
    names = [one.folder.parent.name]
    for other in ({"learning_rate": 1e-3}, {"gamma": 0.9, "n_steps": 8}, {"precision": "bf16"}):
        names.append(make_config("a2c", **settings, **other).folder.parent.name)
    assert names == [
        "coordconv",
        "coordconv-learning_rate-0.001",
        "coordconv-n_steps-8-gamma-0.9",
        "coordconv-precision-bf16",
    ]


@pytest.mark.parametrize(
    "same",
    [
        {"learning_rate": 7e-4},
        {"total_timesteps": 20},
        {"eval_freq": 0, "save_freq": 1, "eval_episodes": 1, "log_interval": 1},
    ],
)
def test_settings_that_do_not_define_a_variant_do_not_rename_it(settings, same):
    assert make_config("a2c", **settings, **same).folder.parent.name == "coordconv"


def test_a_name_with_many_changed_settings_is_shortened(settings):
    changes = {"learning_rate": 1 / 3, "gamma": 1 / 3, "gae_lambda": 1 / 3, "ent_coef": 1 / 3}
    changes |= {"vf_coef": 1 / 3, "max_grad_norm": 1 / 3, "rms_prop_eps": 1 / 3, "n_steps": 8}
    names = {
        make_config("a2c", **settings, **{**changes, "n_steps": n}).folder.parent.name
        for n in (8, 9)
    }
    assert len(names) == 2
    assert all(len(name) < 200 for name in names)


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    folder = str(tmp_path_factory.mktemp("python"))
    own = {**A2C_SETTINGS, "log_dir": folder, "num_threads": 1, "device": "cpu"}
    return train(make_config("a2c", total_timesteps=40, **own))


class TestAtari:
    def test_returns_the_folder_the_scores_and_the_model(self, result):
        assert result.run.is_finished
        assert result.run.folder == result.config.folder
        assert result.scores["step"] == 40
        assert "train/value_loss" in result.scores
        assert result.score is None  # no game is finished yet
        assert isinstance(result.model, A2C)
        assert result.model.num_timesteps == 40

    def test_a_finished_run_is_returned_without_training(self, result):
        again = train(result.config)
        assert again.scores == result.scores

    def test_callbacks_of_the_user_are_called(self, settings):
        class Count(BaseCallback):
            steps = 0

            def _on_step(self) -> bool:
                self.steps += 1
                return True

        count = Count()
        train(make_config("a2c", total_timesteps=40, **A2C_SETTINGS, **settings), callbacks=[count])
        assert count.steps == 20

    def test_the_same_call_resumes_a_run_that_a_callback_stopped(self, settings, capsys):
        class StopAt(BaseCallback):
            def _on_step(self) -> bool:
                return self.num_timesteps < 20

        config = make_config("a2c", total_timesteps=40, **A2C_SETTINGS, **settings)
        result = train(config, callbacks=[StopAt()])
        assert not result.run.is_finished
        assert result.model.num_timesteps == 20
        assert "A callback stopped the training in" in capsys.readouterr().out
        assert train(config).model.num_timesteps == 40

    def test_an_exception_of_a_callback_ends_it(self, settings):
        class Prune(BaseCallback):
            def _on_step(self) -> bool:
                raise LookupError("pruned")

        config = make_config("a2c", total_timesteps=40, **A2C_SETTINGS, **settings)
        with pytest.raises(LookupError, match="pruned"):
            train(config, callbacks=[Prune()])
        assert train(config).run.is_finished

    def test_ctrl_c_also_ends_the_loop_of_the_caller(self, settings):
        class Interrupt(BaseCallback):
            def _on_step(self) -> bool:
                signal.raise_signal(signal.SIGINT)
                return True

        config = make_config("a2c", total_timesteps=400, **A2C_SETTINGS, **settings)
        with pytest.raises(KeyboardInterrupt):
            train(config, callbacks=[Interrupt()])
        assert Run(config.folder).saved

    def test_a_longer_run_keeps_its_evaluations_and_its_best_model(self, settings):
        own = {**A2C_SETTINGS, "eval_freq": 60}
        short = train(make_config("a2c", total_timesteps=40, **own, **settings))
        rows = short.run.evaluations.read_text()
        best = short.run.best_model.read_bytes()
        assert short.scores["eval/mean_reward"] > 0
        long = train(make_config("a2c", total_timesteps=50, **own, **settings))
        assert long.run.folder == short.run.folder
        assert long.run.evaluations.read_text().startswith(rows)
        steps = [row.split(",")[0] for row in long.run.evaluations.read_text().split()[1:]]
        assert steps == ["40", "50"]
        assert long.model.num_timesteps == 50
        if long.scores["eval/mean_reward"] <= short.scores["eval/mean_reward"]:
            assert long.run.best_model.read_bytes() == best


class TestToy:
    def test_returns_the_network_that_was_trained(self, settings):
        epochs = []
        result = train(
            make_config("toy", **TOY_SETTINGS, **settings),
            callbacks=[lambda epoch, metrics: epochs.append((epoch, min(metrics.values())))],
        )
        weights = torch.load(result.run.final_weights, weights_only=True)
        assert all(torch.equal(weights[k], v) for k, v in result.model.state_dict().items())
        assert result.score == result.scores["test/accuracy"]
        assert epochs[-1][0] == 2

    def test_an_exception_of_a_callback_ends_it(self, settings):
        def prune(epoch: int, metrics: object) -> None:
            raise LookupError("pruned")

        config = make_config("toy", **TOY_SETTINGS, **settings)
        with pytest.raises(LookupError, match="pruned"):
            train(config, callbacks=[prune])
        assert train(config).run.is_finished
