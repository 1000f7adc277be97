import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import Field
from tiny import BASE, BareConfig

from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.folder import Run, open_run, read_settings, record_start, run_experiment
from rl_coordconv.runs.signals import Stopped
from rl_coordconv.runs.versions import versions


class TinyConfig(BareConfig):
    length_setting = "n_steps"

    n_steps: int = Field(default=1, description="length")
    width: int = Field(default=3, description="width")


@pytest.fixture
def config(tmp_path: Path) -> TinyConfig:
    return TinyConfig(**BASE, log_dir=str(tmp_path))


def contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def finish(config: TinyConfig, run: Run) -> None:
    record_start(run, device="cpu")
    run.final_model.write_text("model")
    (run.checkpoints / "step-1").touch()
    run.finish()


def begin(config: TinyConfig) -> Run:
    with open_run(config.folder, config) as run:
        record_start(run, device="cpu")
    return run


def test_a_new_run_stores_its_config(config):
    with open_run(config.folder, config) as run:
        record_start(run, device="cpu")
        assert yaml.safe_load(run.config.read_text()) == config.model_dump()
        assert not run.is_finished


def test_a_start_deletes_what_a_killed_process_had_half_written(config):
    run = begin(config)
    run.checkpoints.joinpath(".step-1.4242.pt").write_text("half")
    run.folder.joinpath(".DONE.4242").write_text("half")
    before = {path for path in contents(run.folder) if ".4242" not in path.name}
    begin(config)
    assert contents(run.folder).keys() == before


def test_the_same_config_opens_the_run_again_even_if_it_was_moved(config, tmp_path):
    with open_run(config.folder, config) as run:
        record_start(run, device="cpu")
        run.episodes.write_text("kept")
    moved = config.folder.rename(tmp_path / "elsewhere")
    with open_run(moved, config.model_copy(update={"log_dir": "other"})) as run:
        assert run.episodes.read_text() == "kept"


def test_settings_that_do_not_affect_training_may_change_and_are_stored(config):
    begin(config)
    changed = config.model_copy(update={"save_freq": 7, "num_threads": 2})
    begin(changed)
    assert yaml.safe_load(Run(config.folder).config.read_text()) == changed.model_dump()
    begin(config)
    assert yaml.safe_load(Run(config.folder).config.read_text()) == config.model_dump()


def test_other_settings_are_refused_and_named(config):
    begin(config)
    before = contents(config.folder)
    with pytest.raises(UserError, match=r"\(width was 3, now 4\); use the same .*--overwrite"):
        run_experiment(finish, config.model_copy(update={"width": 4}))
    assert contents(config.folder) == before


def test_overwrite_starts_over(config):
    run_experiment(finish, config)
    changed = config.model_copy(update={"width": 4})
    with open_run(config.folder, changed, overwrite=True) as run:
        record_start(run, device="cpu")
        assert not run.is_finished
        assert not run.final_model.exists()
        assert yaml.safe_load(run.config.read_text())["width"] == 4


def test_a_finished_run_is_left_alone(config, capsys):
    assert run_experiment(finish, config) == 0
    before = contents(config.folder)

    def fail(config: TinyConfig, run: Run) -> None:
        raise AssertionError

    assert run_experiment(fail, config) == 0
    assert "is already finished" in capsys.readouterr().out
    assert contents(config.folder) == before


def test_a_run_is_finished_for_its_length_only(config):
    run_experiment(finish, config)
    longer, shorter = (config.model_copy(update={"n_steps": n}) for n in (2, 0))
    assert Run(config.folder).is_finished
    assert Run(config.folder, config).is_finished
    assert not Run(config.folder, longer).is_finished
    with pytest.raises(UserError, match=r"other settings \(n_steps was 1, now 0"):
        run_experiment(finish, shorter)
    run_experiment(finish, longer)
    assert Run(config.folder, longer).is_finished


@pytest.mark.parametrize("content", ["2026-11-26 20:00:00\n", ""])
def test_a_finished_run_of_an_older_version_has_the_length_of_its_config(config, content):
    run_experiment(finish, config)
    Run(config.folder).done.write_text(content)
    assert Run(config.folder).is_finished
    assert Run(config.folder, config).is_finished
    assert not Run(config.folder, config.model_copy(update={"n_steps": 2})).is_finished


def test_a_longer_run_names_the_schedules_that_it_changes(config, capsys):
    class Scheduled(TinyConfig):
        lr_schedule: str = "linear"
        clip_schedule: str = "constant"

    short = Scheduled(**config.model_dump())
    run_experiment(finish, short)
    run_experiment(finish, short.model_copy(update={"n_steps": 2000}))
    assert (
        "Extending the run from 1 to 2,000 steps. lr_schedule is linear and now spans the new"
        " length.\n"
    ) in capsys.readouterr().out


def test_a_stopped_run_exits_as_its_signal_would(config, capsys):
    def stop(config: TinyConfig, run: Run) -> None:
        raise Stopped(15)

    assert run_experiment(stop, config) == 128 + 15
    assert "Run the same command again to resume" in capsys.readouterr().out


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_refused_and_unharmed(config, overwrite):
    config.folder.mkdir(parents=True)
    (config.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="contains other files"):
        run_experiment(finish, config, overwrite=overwrite)
    assert [p.name for p in config.folder.iterdir()] == ["thesis.txt"]


def test_a_damaged_config_is_reported(config):
    begin(config).config.write_text("seed: [")
    with pytest.raises(UserError, match="is damaged"):
        run_experiment(finish, config)


@pytest.mark.parametrize(
    ("settings", "experiment"),
    [
        ("clip_range: 0.1", "ppo"),
        ("rms_prop_eps: 0.1", "a2c"),
        ("task: rendering", "toy"),
        ("experiment: dqn\nclip_range: 0.1", "dqn"),
        ("buffer_size: 3", "unknown"),
    ],
)
def test_settings_name_the_experiment_even_of_an_old_run(settings, experiment, tmp_path):
    run = Run(tmp_path)
    run.config.write_text(settings)
    assert read_settings(run)["experiment"] == experiment


def test_an_old_run_is_resumed(config):
    run = begin(config)
    old = run.config.read_text().replace("experiment: tiny", "task: tiny")
    run.config.write_text(old)
    with pytest.raises(UserError, match=r"other settings \(experiment was toy, now tiny, task"):
        run_experiment(finish, config)


def test_a_folder_that_cannot_be_created_is_a_one_sentence_error(config, tmp_path):
    (tmp_path / "seed-0").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="Cannot write to .*seed-0"):
        run_experiment(finish, config)


def test_two_processes_cannot_share_a_run(config):
    code = (
        "import sys; from filelock import FileLock\n"
        "lock = FileLock(sys.argv[1]); lock.acquire()\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    begin(config)
    command = [sys.executable, "-c", code, str(config.folder / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(UserError, match="in use by another process"):
            run_experiment(finish, config)
        other.kill()
    assert run_experiment(finish, config) == 0  # a killed process releases its lock


def test_a_start_records_commands_and_versions(config):
    with open_run(config.folder, config) as run:
        record_start(run, device="cpu")
        record_start(run, device="cuda:0")
        assert len(run.command.read_text().splitlines()) == 2
        versions = json.loads(run.versions.read_text())
    assert versions["device"] == "cuda:0"
    assert {"python", "torch", "stable-baselines3", "ale-py", "git_commit"} <= versions.keys()


def test_versions_of_optional_packages_are_recorded_where_they_are_installed():
    found = versions(["numpy"], ["torchvision", "no-such-package"])
    assert found["numpy"] == np.__version__
    assert ("torchvision" in found) == (find_spec("torchvision") is not None)
    assert "no-such-package" not in found


@pytest.mark.parametrize("name", ["best_model.zip", "final_model.zip", "final_weights.pt"])
def test_a_run_without_checkpoints_is_not_restarted_over_its_models(config, name):
    run = begin(config)
    (run.folder / name).write_text("model")
    with pytest.raises(UserError, match="are missing, so the run cannot be resumed"):
        begin(config)
    assert (run.folder / name).read_text() == "model"


def test_a_run_without_a_checkpoint_folder_is_not_restarted_even_without_rows(config):
    begin(config).checkpoints.rmdir()
    with pytest.raises(UserError, match="are missing, so the run cannot be resumed"):
        begin(config)


def test_a_run_that_was_killed_before_its_first_checkpoint_restarts(config):
    begin(config)
    begin(config)
