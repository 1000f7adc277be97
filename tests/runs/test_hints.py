from pathlib import Path

import pytest

from rl_coordconv.runs.hints import meant, nearest, nearest_path

SETTINGS = (
    *("total_timesteps", "n_envs", "n_steps", "env", "extractor", "learning_rate", "gae_lambda"),
    *("learning_rate_schedule", "eval_episodes", "eval_freq", "save_freq", "seed", "log_dir"),
    *("precision", "gamma", "device", "overwrite"),
)
PPO = (*SETTINGS, "n_epochs", "batch_size", "clip_range", "clip_range_schedule")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("lr", "learning_rate"),
        ("LR", "learning_rate"),
        ("timesteps", "total_timesteps"),
        ("steps", "total_timesteps"),
        ("n-envs", "n_envs"),
        ("num_envs", "n_envs"),
        ("game", "env"),
        ("policy", "extractor"),
        ("epochs", "total_timesteps"),
        ("lambda", "gae_lambda"),
        ("n_eval_episodes", "eval_episodes"),
        ("n-evns", "n_envs"),
        ("force", "overwrite"),
        ("out", "log_dir"),
    ],
)
def test_suggests_the_setting_that_was_meant(name, setting):
    assert meant(name, SETTINGS) == setting
    flags = [f"--{known.replace('_', '-')}" for known in SETTINGS]
    assert meant(f"--{name}", flags) == f"--{setting.replace('_', '-')}"


def test_the_suggestion_depends_on_the_known_names():
    assert meant("epochs", PPO) == "n_epochs"
    assert meant("--clip=0.2", PPO) == "clip_range"
    assert meant("bfloat16", ["float32", "bf16"]) == "bf16"
    assert meant("xyz", PPO) is None


def test_nearest_lists_all_names_if_none_is_similar():
    assert nearest("zzz", {"beta", "alpha"}) == "there are: alpha, beta."


def test_some_flags_get_advice_instead_of_a_suggestion():
    assert "train_ppo.py" in nearest("--algo", SETTINGS)
    assert "run the same command again" in nearest("--resume", SETTINGS)
    assert nearest("--algorithm", ["--algo"]) == "did you mean --algo?"


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("runs/a2c/Mspacman/cordconv/seed0", "; did you mean runs/a2c/MsPacman/coordconv/seed-0?"),
        ("runs/a2c/MsPacman/coordconv/sed-1", "; did you mean runs/a2c/MsPacman/coordconv/seed-1?"),
        ("runs/../run", "; did you mean runs/../runs?"),
        ("runs/ppo/MsPacman", "."),
        ("runs/a2c/MsPacman/coordconv/seed-0/config.yml/x", "."),
        ("elsewhere", "."),
    ],
)
def test_a_path_that_exists_is_suggested(typed, suggestion, tmp_path, monkeypatch):
    for seed in (0, 1):
        (tmp_path / f"runs/a2c/MsPacman/coordconv/seed-{seed}").mkdir(parents=True)
    (tmp_path / "runs/a2c/MsPacman/coordconv/seed-0/config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert nearest_path(Path(typed)) == suggestion
    full = suggestion.replace("mean ", f"mean {tmp_path}/")
    assert nearest_path(tmp_path / typed) == full
