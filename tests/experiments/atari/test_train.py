import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from atari_commands import (
    ROOT,
    SHORT_FLAGS,
    TINY,
    arguments,
    column,
    only_run,
    rename_classes,
    train,
)
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_coordconv.envs import AtariVecEnv
from rl_coordconv.experiments.atari import train as train_module
from rl_coordconv.experiments.atari.callbacks import Evaluation
from rl_coordconv.experiments.atari.config import A2CConfig
from rl_coordconv.runs.config import Defaults, read_yaml
from rl_coordconv.runs.console import Bar
from rl_coordconv.runs.folder import Run
from scripts import GAME_RUN_FILES, load_script


class TestFinishedRun:
    def test_has_the_files_of_a_run_folder(self, a2c_run):
        names = {path.name for path in a2c_run.folder.iterdir()}
        assert names >= GAME_RUN_FILES
        assert a2c_run.folder.parts[-4:] == ("a2c", "MsPacman", "coordconv-n_envs-2", "seed-0")

    def test_stores_every_setting(self, a2c_run):
        stored = yaml.safe_load(a2c_run.config.read_text())
        assert stored.keys() == A2CConfig.model_fields.keys()
        assert (stored["n_envs"], stored["learning_rate"]) == (2, 0.0007)

    def test_model_is_the_zoos_a2c(self, a2c_run):
        model = A2C.load(a2c_run.final_model)
        assert model.num_timesteps == 2000
        assert isinstance(model.policy.optimizer, RMSpropTFLike)
        assert model.policy.optimizer.defaults["eps"] == 1e-5
        assert (model.n_steps, model.ent_coef, model.vf_coef) == (5, 0.01, 0.25)
        assert model.policy.net_arch == []

    def test_shows_in_tensorboard_what_sb3_shows_and_more(self, a2c_run):
        events = EventAccumulator(str(a2c_run.folder))
        events.Reload()
        tags = events.Tags()
        assert set(tags["scalars"]) >= {
            "rollout/ep_rew_mean",
            "rollout/ep_len_mean",
            "time/fps",
            "train/learning_rate",
            "train/explained_variance",
            "train/entropy_loss",
            "train/policy_loss",
            "train/value_loss",
            "raw/episode_return",
            "raw/episode_length_frames",
            "time/steps_per_second",
            "eval/mean_reward",
            "eval/mean_ep_length",
            "coord/weight_share/cnn.0",
        }
        assert tags["images"] == ["coord/positional_map/cnn.0"]
        assert [event.step for event in events.Scalars("eval/mean_reward")] == [1000, 2000]
        metadata = events.SummaryMetadata("_hparams_/session_start_info")
        assert metadata.plugin_data.plugin_name == "hparams"

    def test_logs_every_game_in_frames_and_raw_points(self, a2c_run):
        events = EventAccumulator(str(a2c_run.folder))
        events.Reload()
        scores = column(a2c_run.episodes, "episode_return")
        assert scores
        assert scores == [event.value for event in events.Scalars("raw/episode_return")]
        assert all(score % 10 == 0 and score > 10 for score in scores)  # Ms. Pac-Man's points
        # Three lives last a few hundred steps of four frames.
        assert all(frames > 1000 for frames in column(a2c_run.episodes, "length_frames"))

    def test_evaluates_whole_games(self, a2c_run):
        assert column(a2c_run.evaluations, "step") == [1000, 2000]
        assert all(frames > 1000 for frames in column(a2c_run.evaluations, "length_frames"))

    def test_is_unchanged_by_the_same_command(self, a2c_run, capsys):
        folder = a2c_run.folder.parents[3]
        before = a2c_run.final_model.stat()
        train("a2c", folder, "--total-timesteps 2000 --eval-freq 1000 --save-freq 1000")
        assert "is already finished" in capsys.readouterr().out
        assert a2c_run.final_model.stat() == before

    def test_is_not_resumed_with_other_settings(self, a2c_run, capsys):
        folder = a2c_run.folder.parents[3]
        with pytest.raises(SystemExit) as exit_:
            train("a2c", folder, "--total-timesteps 1000 --eval-freq 1000 --save-freq 1000")
        assert exit_.value.code == 2
        assert "total_timesteps was 2000, now 1000" in capsys.readouterr().err


def test_ppo_anneals_and_steps_as_the_zoo_says(tmp_path):
    run = train("ppo", tmp_path, "--extractor nature --total-timesteps 128 --eval-freq 0")
    model = PPO.load(run.final_model)
    assert (model.n_epochs, model.vf_coef, model.gae_lambda) == (4, 0.5, 0.95)
    assert (model.lr_schedule(0.5), model.clip_range(0.5)) == (1.25e-4, 0.05)
    assert not column(run.evaluations, "step")


@pytest.mark.parametrize(
    "flags",
    [
        "--extractor coordconv-all --protocol sticky",
        "--extractor nature-noise --backend sb3 --env pong",
        "--extractor impala-coordconv --precision bf16 --env ALE/Breakout-v5",
    ],
)
def test_every_choice_trains(tmp_path, flags):
    run = train("a2c", tmp_path, f"{flags} --total-timesteps 40 --eval-freq 0")
    assert run.is_finished


def test_a_short_run_has_a_curve(tmp_path):
    """Regression: the first row came after ``log_interval`` updates."""
    flags = "--eval-freq 0 --log-interval 50 --save-freq 30"
    run = train("a2c", tmp_path, f"{flags} --total-timesteps 125")
    assert column(run.progress, "step") == [50, 100, 130]
    assert column(run.progress, "time/iterations") == [5, 10, 13]
    train("a2c", tmp_path, f"{flags} --total-timesteps 600")  # no early rows again, none twice
    assert column(run.progress, "step") == [*range(50, 101, 50), 130, *range(150, 500, 50), 600]


def test_an_evaluation_shows_how_far_it_is(tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(Bar, "note", lambda _, note: notes.append(note))
    train("a2c", tmp_path, "--total-timesteps 20 --eval-freq 1000 --eval-episodes 3")
    assert [note for note in notes if "evaluating" in note] == [
        f"evaluating {n}/3" for n in range(4)
    ]


def test_a_finished_run_prints_its_scores_and_the_next_commands(a2c_run, capsys):
    folder = a2c_run.folder.parents[3]
    train("a2c", folder, "--total-timesteps 2000 --eval-freq 1000 --save-freq 1000")
    out = capsys.readouterr().out
    games = column(a2c_run.episodes, "episode_return")
    mean = f"{sum(games) / len(games):,.1f}"
    assert f"training score    {mean}, the mean of the last {len(games)} training games\n" in out
    (score,) = column(a2c_run.evaluations, "episode_return")[-1:]
    assert f"evaluation score  {score:,.1f}, the mean of 1 evaluation games\n" in out
    scripts = os.path.relpath(ROOT / "scripts")
    assert out.splitlines()[-3:] == [  # each on one line, to be copied
        f"watch             tensorboard --logdir {folder}",
        f"evaluate          python {scripts}/evaluate.py {a2c_run.folder}",
        f"compare           python {scripts}/compare.py {folder}/a2c/MsPacman",
    ]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return A2C.load(run.final_model).policy.state_dict()


def test_another_seed_trains_other_weights(short_run, tmp_path):
    other = weights(train("a2c", tmp_path, f"{SHORT_FLAGS} --seed 1"))
    assert not all(torch.equal(value, other[name]) for name, value in weights(short_run).items())


def start(name: str, folder: Path, flags: str, **options) -> subprocess.Popen[str]:
    script = ROOT / "scripts" / f"train_{name}.py"
    command = [sys.executable, str(script), *arguments(name, folder, flags)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.rglob("step-*.zip")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def newest_step(run: Run) -> int:
    return max(int(path.stem.removeprefix("step-")) for path in run.checkpoints.glob("step-*"))


def terminate_after(run: Run, step: int) -> None:
    while newest_step(run) < step:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


EVALUATED = "--total-timesteps 100 --eval-freq 60 --log-interval 1"


@pytest.fixture(scope="module")
def evaluated_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("a2c", tmp_path_factory.mktemp("evaluated"), EVALUATED)


def test_equal_seeds_train_equal_weights_with_or_without_evaluation(short_run, evaluated_run):
    # Its settings, not its evaluations: other tests evaluate this run with the command.
    assert yaml.safe_load(short_run.config.read_text())["eval_freq"] == 0
    assert column(evaluated_run.evaluations, "step") == [60, 100]
    plain, evaluated = weights(short_run), weights(evaluated_run)
    assert all(torch.equal(value, evaluated[name]) for name, value in plain.items())


LONG_PPO = "--total-timesteps 100000 --eval-freq 0 --save-freq 64"


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_stopped_resumes(tmp_path, number, capsys):
    # Long, so that it cannot end before the signal.
    with start("ppo", tmp_path, LONG_PPO) as process:
        wait_for_checkpoint(tmp_path, process)
        process.send_signal(number)
        out, _ = process.communicate()
    if number != signal.SIGKILL:
        assert "received: finishing this update, then saving in" in out
        assert process.returncode == 128 + number
        assert "Run the same command again to resume" in out
    run = only_run(tmp_path)
    saved = newest_step(run)
    threading.Thread(target=terminate_after, args=(run, saved + 64), daemon=True).start()
    code = load_script("train_ppo").main(arguments("ppo", tmp_path, LONG_PPO))
    assert code == 128 + signal.SIGTERM
    assert f"from step {saved:,}" in capsys.readouterr().out
    steps = column(run.progress, "time/total_timesteps")
    assert steps == [32.0 * (i + 1) for i in range(len(steps))]  # each update once
    # The schedule continues: each rate follows from the step before and the whole length.
    rates = column(run.progress, "train/learning_rate")  # after the first row
    assert rates == pytest.approx([2.5e-4 * (1 - step / 100_000) for step in steps[:-1]])


@pytest.mark.parametrize(
    ("how", "step"),
    [
        ("Ctrl-C", 60),
        pytest.param("SIGTERM", 100, marks=pytest.mark.slow),
        pytest.param("killed after it", 60, marks=pytest.mark.slow),
        pytest.param("killed after it", 100, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_evaluation_is_repeated(evaluated_run, tmp_path, monkeypatch, how, step):
    """Regression: a signal had no effect until its end, and unsaved steps could be lost."""

    def evaluate(evaluation):
        if evaluation.num_timesteps == step:
            if how != "killed after it":
                interrupt_after(10, evaluation.env, signal.SIGINT if how == "Ctrl-C" else 15)
            original(evaluation)
            raise KeyboardInterrupt  # before the next checkpoint
        original(evaluation)

    original = Evaluation._evaluate
    monkeypatch.setattr(Evaluation, "_evaluate", evaluate)
    try:
        code = load_script("train_a2c").main(arguments("a2c", tmp_path, EVALUATED))
    except SystemExit as end:
        code = end.code
    assert code == {"SIGTERM": 128 + 15}.get(how, 130)
    run = only_run(tmp_path)
    assert newest_step(run) == step
    expected = [60, 100][: [60, 100].index(step) + (how == "killed after it")]
    assert column(run.evaluations, "step") == expected
    monkeypatch.undo()
    train("a2c", tmp_path, EVALUATED)
    assert column(run.evaluations, "step") == [60, 100]
    assert column(run.progress, "eval/mean_reward") == column(run.evaluations, "episode_return")
    steps = column(run.progress, "step")
    assert steps == sorted(set(steps))  # one row each, as pandas wants it
    if step == 100:  # without new games in between
        assert run.evaluations.read_text() == evaluated_run.evaluations.read_text()
        for name in ("step", "train/value_loss", "eval/mean_reward"):
            assert column(run.progress, name) == column(evaluated_run.progress, name)


def interrupt_after(steps: int, env: AtariVecEnv, number: int) -> None:
    left = iter(range(steps))

    def step(actions):
        if next(left, None) is None:
            signal.raise_signal(number)
        return original(actions)

    original = env.step
    env.step = step


def unfinished_copy(finished: Run, folder: Path) -> Run:
    """Return a copy of a run as it was at its checkpoint."""
    shutil.copytree(finished.folder.parents[3], folder)
    run = only_run(folder)
    for path in (run.done, run.final_model, run.saved[0]):
        path.unlink()
    return run


def test_a_run_of_an_earlier_version_is_resumed(short_run, tmp_path, capsys):
    run = unfinished_copy(short_run, tmp_path / "runs")
    (checkpoint,) = run.saved
    rename_classes(checkpoint)
    settings = yaml.safe_load(run.config.read_text())
    del settings["experiment"]
    run.config.write_text(yaml.safe_dump(settings))
    lines = run.progress.read_text().splitlines()
    assert lines[0].startswith("step,seconds,")
    run.progress.write_text("".join(f"{line.split(',', 2)[2]}\n" for line in lines))

    train("a2c", tmp_path / "runs", SHORT_FLAGS)
    assert "from step 60" in capsys.readouterr().out
    assert run.is_finished
    assert column(run.progress, "step") == [20, 40, 60, 80, 100]
    assert column(run.progress, "seconds") == sorted(column(run.progress, "seconds"))


def refused(name: str, folder: Path, flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error message of a command."""
    with pytest.raises(SystemExit) as exit_:
        load_script(f"train_{name}").main(arguments(name, folder, flags))
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_checkpoint_is_not_resumed_with_other_settings(short_run, tmp_path, capsys):
    """Regression: without config.yaml, the run was resumed and the new settings were stored."""
    run = unfinished_copy(short_run, tmp_path / "runs")
    run.config.unlink()
    error = refused("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --total-timesteps 80", capsys)
    assert "total_timesteps was 100, now 80" in error
    assert not run.config.exists()
    train("a2c", tmp_path / "runs", SHORT_FLAGS)
    assert "from step 60" in capsys.readouterr().out
    assert run.config.read_text() == short_run.config.read_text().replace(
        str(short_run.folder.parents[3]), str(tmp_path / "runs")
    )


def test_a_run_that_cannot_be_resumed_is_refused(short_run, tmp_path, capsys):
    """Its checkpoints are missing, or a row of a log is damaged."""
    run = unfinished_copy(short_run, tmp_path / "runs")
    with run.progress.open("a") as file:
        file.write("garbage\n")
    error = refused("a2c", tmp_path / "runs", SHORT_FLAGS, capsys)
    assert error == f"Line 7 of {run.progress} is damaged; correct or delete it.\n"
    before = run.progress.read_bytes()
    shutil.rmtree(run.checkpoints)
    error = refused("a2c", tmp_path / "runs", SHORT_FLAGS, capsys)
    assert f"The checkpoints in {run.checkpoints} are missing" in error
    assert "--overwrite" in error
    assert run.progress.read_bytes() == before


def test_a_full_disk_keeps_the_last_checkpoint(short_run, tmp_path):
    run = unfinished_copy(short_run, tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}

    def allow_one_megabyte() -> None:  # a model has fourteen
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    with start("a2c", tmp_path / "runs", SHORT_FLAGS, preexec_fn=allow_one_megabyte) as process:
        _, error = process.communicate()
    assert process.returncode == 2, error
    assert error.startswith("Could not write to ")
    assert "File too large. Earlier files are intact" in error
    assert "Traceback" not in error
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "flags", "sentence"),
    [
        (
            "a2c",
            "--extractor cordconv",
            "There is no extractor 'cordconv'; did you mean coordconv?",
        ),
        ("a2c", "--env MsPackman", "There is no Atari game 'MsPackman'; did you mean MsPacman?"),
        ("a2c", "--sed 1", "There is no flag --sed; did you mean --seed?"),
        ("a2c", "--n-envs 0", "--n-envs must be at least 1, not 0."),
        ("a2c", "--total-timesteps -5", "--total-timesteps must be at least 1, not -5."),
        ("a2c", "--device gpu", "There is no device 'gpu'; choose auto, cpu, cuda or cuda:N."),
        ("ppo", "--batch-size 7", "batch_size 7 must divide n_envs * n_steps = 32."),
        ("ppo", "--rms-prop-eps 1", "There is no flag --rms-prop-eps; there are: "),
        ("a2c", "--config missing.yaml", "Cannot read the config file missing.yaml: No such file"),
        ("a2c", "--log-dir /dev/null/runs", "Cannot write to /dev/null/runs/a2c/MsPacman/"),
    ],
)
def test_a_mistake_gives_one_sentence_with_exit_code_2(name, flags, sentence, capsys, monkeypatch):
    monkeypatch.chdir("/")
    with pytest.raises(SystemExit) as exit_:
        load_script(f"train_{name}").main([*TINY[name].split(), *flags.split()])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(sentence)
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--seed 20240101123", "--seed must be at most 4294967295, not 20240101123."),
        ("--seed 4294967296", "--seed must be at most 4294967295"),
        ("--seed -1", "--seed must be at least 0"),
        ("--device cuda:99", "There is no cuda:99 device on this machine"),
        ("--env Pnog", "did you mean Pong?"),
        ("--config nothing.yaml", "Cannot read the config file nothing.yaml"),
        ("--log-dir {0}/" + 300 * "x", "Cannot write to"),
        ("--log-dir {0}/new/" + 300 * "x", "Cannot write to"),
        ("--log-dir {0}/$NOT_SET", "the environment variable $NOT_SET is not set."),
        ("--log-dir ~nobody-here/runs", "there is no such user: ~nobody-here/runs."),
    ],
)
def test_a_refused_start_leaves_no_folder(tmp_path, monkeypatch, capsys, flags, sentence):
    """Regression: it left a folder that made the next start fail."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "some" / "runs"
    flags = f"--total-timesteps 20 {flags.format(folder)}"
    assert sentence in refused("a2c", folder, flags, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("function", ["make_atari_env", "make_model"])
def test_a_start_that_crashes_before_the_first_step_leaves_no_folder(
    tmp_path, monkeypatch, error, function
):
    def crash(*_, **__):
        assert list(tmp_path.rglob(".lock"))
        raise error

    monkeypatch.setattr(train_module, function, crash)
    with pytest.raises((error, SystemExit)):
        train("a2c", tmp_path, SHORT_FLAGS)
    assert not list(tmp_path.iterdir())


def test_a_refused_overwrite_deletes_nothing(short_run, tmp_path, capsys):
    run = unfinished_copy(short_run, tmp_path / "runs")
    times = {path: path.stat().st_mtime_ns for path in run.folder.rglob("[!.]*")}
    refused("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --overwrite --device cuda:99", capsys)
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("[!.]*")} == times
    train("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --overwrite")
    assert column(run.progress, "step") == [20, 40, 60, 80, 100]
    assert "resuming" not in capsys.readouterr().out


def test_paths_and_games_in_other_spellings(tmp_path, monkeypatch, capsys):
    """Regression: `~` became a folder of that name, and `ALE/...` an unknown game."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERE", "here")
    monkeypatch.chdir(tmp_path)
    settings = yaml.safe_load((ROOT / "configs" / "a2c.yaml").read_text())
    settings |= {"log_dir": "~/$HERE/${HERE}", "env": "ale_py:ALE/Pong-v5"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    flags = "--config ~/mine.yaml --total-timesteps 20 --eval-freq 0 --seed 4294967295"
    assert load_script("train_a2c").main([*TINY["a2c"].split(), *flags.split()]) == 0
    run = only_run(tmp_path)
    assert run.folder == tmp_path / "here/here/a2c/Pong/coordconv-n_envs-2/seed-4294967295"
    assert yaml.safe_load(run.config.read_text())["log_dir"] == str(tmp_path / "here/here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "mine.yaml"]


@pytest.mark.parametrize("name", ["a2c", "ppo"])
@pytest.mark.parametrize(("rate", "graphs"), [("1e6", "off"), ("1e30", "off"), ("1e6", "on")])
def test_a_training_that_diverges_is_a_one_sentence_error(tmp_path, capsys, name, rate, graphs):
    """Regression: it gave a traceback without the step and the last good checkpoint."""
    flags = f"--total-timesteps 1000 --eval-freq 32 --learning-rate {rate} --cuda-graphs {graphs}"
    error = refused(name, tmp_path, flags, capsys)
    found = re.fullmatch(
        r"The training diverged: .* is NaN or infinite at step ([\d,]+)\. Last good checkpoint:"
        r" (.*zip)\. Start over with a lower --learning-rate\.",
        error.splitlines()[-1],
    )
    assert found, error
    model = A2C if name == "a2c" else PPO
    weights = model.load(found[2]).policy.state_dict()
    assert all(weight.isfinite().all() for weight in weights.values())
    assert not only_run(tmp_path).is_finished


def test_a_weight_that_is_nan_at_the_end_is_never_saved(tmp_path, monkeypatch, capsys):
    class Broken(train_module.LightRMSpropTFLike):
        def step(self, closure=None):
            super().step(closure)
            with torch.no_grad():
                self.param_groups[0]["params"][-1].fill_(torch.nan)  # the value's bias

    monkeypatch.setattr(train_module, "LightRMSpropTFLike", Broken)
    error = refused("a2c", tmp_path, "--total-timesteps 10 --eval-freq 0", capsys)
    assert error.startswith("The training diverged: value_net.bias is NaN or infinite at step 10.")
    assert [path.name for path in tmp_path.rglob("*.zip")] == ["step-0000000000.zip"]


def test_a_missing_gpu_is_a_one_sentence_error(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SystemExit) as exit_:
        load_script("train_a2c").main(["--device", "cuda"])
    assert exit_.value.code == 2
    assert "There is no cuda device on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a2c", "ppo"])
def test_help_explains_every_setting(name, capsys):
    with pytest.raises(SystemExit):
        load_script(f"train_{name}").main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    for key, value in config.items():
        assert f"--{key.replace('_', '-')} " in text
        assert f"(default: {value})" in text


def test_yaml_and_config_class_agree():
    file = ROOT / "configs" / "a2c.yaml"
    config = A2CConfig.load(Defaults(file, read_yaml(file)))
    assert config.total_timesteps == 10_000_000
    assert config.rms_prop_eps == 1e-5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_one_sentence_error(tmp_path, capsys):
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit) as exit_:
        train("a2c", tmp_path, "")
    assert exit_.value.code == 2
    assert "Cannot write to" in capsys.readouterr().err
