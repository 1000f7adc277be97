"""Training from Python with `make_config` and `train`."""

import random
import signal

import numpy as np
import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback

from rl_coordconv.experiments import Result, make_config, train
from rl_coordconv.experiments.atari.callbacks import Evaluation
from rl_coordconv.runs.checkpoint import rng_untouched
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.files import rows_until
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


def test_a_folder_may_be_a_path(tmp_path):
    assert make_config("a2c", log_dir=tmp_path).log_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("experiment", "wrong", "sentence"),
    [
        ("a2d", {}, "There is no experiment 'a2d'; did you mean a2c?"),
        ("a2c", {"lerning_rate": 1}, "lerning_rate is not a setting; did you mean learning_rate?"),
        ("a2c", {"gamma": 2}, "make_config: gamma must be at most 1"),
        ("a2c", {"gamma": np.array([1, 2])}, "gamma must be a number, not array([1, 2])."),
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


def test_a_wrong_value_in_a_file_is_named_by_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("gamma: 2\n")
    with pytest.raises(UserError, match=r"mine\.yaml: gamma must be at most 1"):
        make_config("a2c", config=file, n_steps=16)
    with pytest.raises(UserError, match=r"make_config: gamma must be at most 1"):
        make_config("a2c", config=file, gamma=3)


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


def test_equal_settings_have_one_folder_however_they_are_written(settings):
    for name, spellings in {
        "learning_rate": (1e-3, "1e-3", "0.001"),
        "ent_coef": (0, -0.0, "-0"),
    }.items():
        folders = {make_config("a2c", **settings, **{name: value}).folder for value in spellings}
        assert len(folders) == 1


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

    def test_the_random_numbers_and_torch_settings_of_the_caller_stay(self, result):
        def draw() -> tuple[float, float, float]:
            numpy = np.random.random()  # noqa: NPY002 - the generator that SB3 seeds
            return random.random(), numpy, float(torch.rand(()))

        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        with rng_untouched():
            expected = draw()
        assert train(result.config, overwrite=True).model.num_timesteps == 40
        assert draw() == expected  # else a random search draws the same settings again
        assert torch.get_num_threads() == 2
        torch.set_num_threads(threads)
        assert torch.tensor(1e-40) * 1 > 0

    def test_callbacks_of_the_user_are_called(self, settings):
        class Count(BaseCallback):
            steps = 0

            def _on_step(self) -> bool:
                self.steps += 1
                return True

            def _on_rollout_end(self) -> None:
                self.logger.record("own/steps", self.steps)

        own = {**A2C_SETTINGS, "log_interval": 100}  # so the only row is the last
        count = Count()
        result = train(make_config("a2c", total_timesteps=40, **own, **settings), callbacks=[count])
        assert count.steps == 20
        assert result.scores["own/steps"] == 20

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

    def test_ctrl_c_also_ends_the_loop_of_the_caller(self, settings, capfd):
        class Interrupt(BaseCallback):
            def _on_step(self) -> bool:
                signal.raise_signal(signal.SIGINT)
                return True

        config = make_config("a2c", total_timesteps=400, **A2C_SETTINGS, **settings)
        with pytest.raises(KeyboardInterrupt):
            train(config, callbacks=[Interrupt()], verbose=False)
        assert Run(config.folder).saved
        shown = capfd.readouterr().out
        assert shown.startswith("Ctrl-C received: finishing this update, then saving in ")
        assert shown.count("\n") == 1

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

    @pytest.mark.slow
    def test_a_longer_run_keeps_an_evaluation_that_no_checkpoint_has(self, settings, monkeypatch):
        own = {**A2C_SETTINGS, "eval_freq": 60}
        with monkeypatch.context() as patched:  # as by older versions, or killed after it
            patched.setattr(Evaluation, "state", {})
            short = train(make_config("a2c", total_timesteps=40, **own, **settings))
        rows = short.run.evaluations.read_text()
        long = train(make_config("a2c", total_timesteps=50, **own, **settings))
        assert long.run.evaluations.read_text().startswith(rows)
        model = A2C.load(long.run.best_model)
        scores = [
            float(row["episode_return"]) for row in rows_until(long.run.evaluations, "step", 50)
        ]
        assert model.num_timesteps == (40 if scores[0] >= scores[1] else 50)


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

    def test_can_be_silent(self, settings, capfd):
        """As Stable-Baselines3 with ``verbose=0``; for a search of many trials."""
        config = make_config("toy", **TOY_SETTINGS, **settings)
        longer = make_config("toy", **{**TOY_SETTINGS, "n_epochs": 3}, **settings)
        for one in (config, config, longer):  # trained, finished, extended
            train(one, callbacks=[lambda *_: print("mine")], verbose=False)
        assert capfd.readouterr() == ("mine\n" * 5, "")
        train(longer)
        assert "is already finished" in capfd.readouterr().out

    def test_an_exception_of_a_callback_ends_it(self, settings):
        def prune(epoch: int, metrics: object) -> None:
            raise LookupError("pruned")

        config = make_config("toy", **TOY_SETTINGS, **settings)
        with pytest.raises(LookupError, match="pruned"):
            train(config, callbacks=[prune])
        assert train(config).run.is_finished
