"""The script's own main, on real trainings."""

import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from study.runs import ROOT, SCRIPT, TOY, run_study, runs_in, write_study

# A2C on the real game for a few updates.
A2C = {
    **{"experiment": "a2c", "n_envs": 2, "total_timesteps": 200, "device": "cpu"},
    **{"eval_freq": 0, "log_interval": 1},
}


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(*arguments: object) -> int:
    return load_script().main([str(argument) for argument in arguments])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    vary = {"seed": [0, 1], "extractor": ["nature", "coordconv"]}
    return write_study(tmp_path, vary, A2C)


def test_runs_of_a_study_are_ordinary_runs(study, tmp_path):
    out = run_study(study, "--seed", "0", "--retries", "0")
    runs = runs_in(tmp_path / "runs")
    assert list(runs) == ["a2c/MsPacman/coordconv/seed-0", "a2c/MsPacman/nature/seed-0"]
    for run in runs.values():
        assert run.is_finished
        assert run.final_model.exists()
        assert "Done: " in run.output.read_text()
        # The same command by itself finds nothing left to do.
        command = [sys.executable, *run.command.read_text().split()]
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "is finished" in again.stdout
    assert "To compare the runs: python " in out


def test_dry_run_and_print_show_the_commands_of_what_is_left(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    first = tmp_path / "runs" / "a2c" / "MsPacman" / "nature" / "seed-0"
    assert main(study, "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("python scripts/train_a2c.py --seed 0 --extractor nature ")
    assert not (tmp_path / "runs").exists()

    command = [sys.executable, *shlex.split(lines[0])[1:]]
    subprocess.run(command, capture_output=True, check=True)
    assert (first / "DONE").exists()
    assert main(study, "--backend", "print") == 0
    assert capsys.readouterr().out.splitlines() == lines[1:]


def test_flags_may_come_before_the_file(study, capsys):
    assert main("--seed", "0", "--extractor", "nature", "--dry-run", study) == 0
    assert capsys.readouterr().out.count("\n") == 1


def test_a_gpu_that_is_not_here_may_be_elsewhere(study, capsys):
    assert main(study, "--backend", "print", "--device", "cuda:7") == 0
    assert "--device cuda:7" in capsys.readouterr().out


def test_list_measures_what_a_run_will_cost_and_leaves_nothing(tmp_path, capsys):
    study = write_study(tmp_path, {"seed": [0, 1]}, {**TOY, "n_epochs": 1000})
    assert main(study, "--list") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("seed-")]
    assert [row[:4] for row in rows] == [[f"seed-{n}", "0", "1,000", "epochs"] for n in (0, 1)]
    hours, minutes, seconds = map(int, rows[0][4].split(":"))
    assert 3600 * hours + 60 * minutes + seconds > 10
    assert "2 runs, 2 of them to do: " in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--sed 1", "There is no flag --sed; did you mean --seed?"),
        ("--extractor cordconv", "There is no extractor 'cordconv'; did you mean coordconv?"),
        ("--seed 1,1", "--seed holds 1 twice; a run is done once."),
        ("--parallel 0", "--parallel must be at least 1, not 0."),
        ("--retries -1", "--retries must be at least 0, not -1."),
        ("--backend slurm", "Argument --backend: invalid choice: 'slurm' "),
        ("--batch-size 3", "--batch-size is not a setting; "),
        ("--log-dir /dev/null/runs", "Cannot write to /dev/null/runs: "),
        ("--backend ray --address 127.0.0.1:1", "No Ray cluster lets us in at 127.0.0.1:1: "),
        (
            "--backend ray --address here:x",
            "here:x is no address of a Ray cluster, as 10.0.0.1:6379",
        ),
        ("--backend ray --address ..:1", "No Ray cluster lets us in at ..:1: "),
        ("--address 127.0.0.1:1", "--address is that of a Ray cluster; say --backend ray too."),
        ("--device cuda:0", "cuda:0 is one GPU, and a study hands them out itself: "),
        ("--gpus-per-run nan", "--gpus-per-run must be at least 0, not nan."),
    ],
)
def test_a_mistake_is_one_sentence_before_the_first_run(flags, sentence, study, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(study, *flags.split())
    assert exit_.value.code == 2
    out, error = capsys.readouterr()
    assert error.startswith(sentence.format(study=study))
    assert error.count("\n") == 1
    assert out == ""
    assert not runs_in(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "Cannot read the config file {study}: No such file or directory."),
        ("", "{study} must hold settings"),
        ("vary: [", "{study} is not valid YAML: see line "),
    ],
)
def test_a_file_that_is_no_study_is_one_sentence(text, sentence, study, capsys):
    study.unlink() if text is None else study.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(sentence.format(study=study))


def test_a_missing_extra_is_one_sentence(study, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "rl_coordconv.study.cluster", raising=False)
    with pytest.raises(SystemExit) as exit_:
        main(study, "--backend", "ray")
    assert exit_.value.code == 2
    assert "pip install 'rl_coordconv[ray]'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_that_is_not_here_is_one_sentence(study, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(study, "--device", "cuda")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "There is no GPU on this machine; take --device cpu.\n"
    assert not runs_in(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("letter.txt", b"Dear", "holds other files and no run; name another --log-dir."),
        ("config.yaml", b"\xff\xfe", "config.yaml is damaged; delete that folder."),
    ],
)
def test_what_is_no_run_is_told_before_the_first_run(
    name, content, sentence, study, tmp_path, capsys
):
    folder = tmp_path / "runs" / "a2c" / "MsPacman" / "coordconv" / "seed-1"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith(f"{sentence}\n")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["study.yaml", name]


def test_runs_that_another_study_made_are_not_taken_for_this_ones(study, tmp_path, capsys):
    folder = tmp_path / "runs" / "a2c" / "MsPacman" / "coordconv" / "seed-1"
    folder.mkdir(parents=True)
    settings = yaml.safe_load((ROOT / "configs" / "a2c.yaml").read_text())
    settings |= {key: value for key, value in A2C.items() if key != "experiment"}
    settings |= {"seed": 1, "total_timesteps": 100}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "DONE").touch()
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert "another total_timesteps (100 there, 200 now)" in capsys.readouterr().err
    assert len(runs_in(tmp_path)) == 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="it cannot be told here")
def test_as_many_runs_at_once_as_there_are_cores(study, capsys):
    main(study, "--list", "--total-timesteps", "100", "--seed", "0")
    cores = len(os.sched_getaffinity(0))
    assert f" with {cores} at once on this machine" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="it cannot be told here")
def test_a_run_that_is_alone_has_all_cores(tmp_path):
    fixed = {name: value for name, value in TOY.items() if name != "num_threads"}
    study = write_study(tmp_path, {"seed": [0]}, {**fixed, "n_epochs": 1})
    run_study(study)
    (run,) = runs_in(tmp_path / "runs").values()
    threads = yaml.safe_load(run.config.read_text())["num_threads"]
    assert threads == len(os.sched_getaffinity(0))


def test_nobody_has_to_read_all_commands(study):
    seeds = ",".join(map(str, range(999)))  # more commands than a pipe holds
    command = [sys.executable, SCRIPT, study, "--backend", "print", "--seed", seeds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
