"""Weights & Biases, without a network."""

import sys
from contextlib import suppress

import pytest
import wandb
from experiments.atari.atari_commands import SHORT_FLAGS, train

from rl_coordconv.runs import tracking
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_resumed_run_is_logged_to_the_same_wandb_run(tmp_path):
    run = train("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --log-interval 1 --track")
    train("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --total-timesteps 140 --track")
    wandb.teardown()  # waits until the files are complete
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert [folder.name.rsplit("-", 1)[1] for folder in folders] == 2 * [
        (run.folder / "wandb_id.txt").read_text().strip()
    ]
    (file,) = folders[0].glob("*.wandb")
    for text in ("a2c/MsPacman/coordconv-n_envs-2/seed-0", "extractor", "train/value_loss"):
        assert text.encode() in file.read_bytes()


def test_a_missing_package_is_a_one_sentence_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit) as exit_:
        train("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --track")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "--track needs Weights & Biases: pip install wandb.\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("error", "code"), [(None, 0), (UserError("It diverged."), 1)])
def test_a_training_that_fails_is_shown_as_failed(monkeypatch, error, code):
    codes = []
    monkeypatch.setattr(wandb, "finish", lambda exit_code=0: codes.append(exit_code))
    with suppress(UserError), tracking.finished_after():
        if error:
            raise error
    assert codes == [code]


def test_a_failed_connection_is_a_one_sentence_error(tmp_path, monkeypatch, capsys):
    def refuse(**settings):
        raise wandb.errors.UsageError("api_key not configured (no-tty).")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(SystemExit) as exit_:
        train("a2c", tmp_path / "runs", f"{SHORT_FLAGS} --track")
    assert exit_.value.code == 2
    assert "set WANDB_MODE=offline" in capsys.readouterr().err
    (run,) = map(Run, (tmp_path / "runs").glob("a2c/*/*/seed-0"))
    assert not run.is_finished
