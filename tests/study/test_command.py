"""``study.py`` with real runs."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
import yaml
from study.runs import (
    ROOT,
    SCRIPT,
    TOY,
    finish,
    run_study,
    runs_in,
    start_python,
    starts,
    write_study,
)

from rl_coordconv.study.plan import read_study
from scripts import run_script

# A2C on the real game for a few updates.
A2C = {
    **{"experiment": "a2c", "n_envs": 2, "total_timesteps": 200, "device": "cpu"},
    **{"eval_freq": 0, "log_interval": 1},
}


def main(*arguments: object) -> int:
    return run_script("study", *arguments)


def n_cores() -> int:
    can_tell = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if can_tell else os.cpu_count() or 1


@pytest.fixture
def study(tmp_path: Path) -> Path:
    vary = {"seed": [0, 1], "extractor": ["nature", "coordconv"]}
    return write_study(tmp_path, vary, A2C)


@pytest.mark.slow
def test_runs_of_a_study_are_ordinary_runs(study, tmp_path):
    out = run_study(study, "--seed", "0", "--retries", "0")
    runs = runs_in(tmp_path / "runs")
    assert list(runs) == [
        f"a2c/MsPacman/{extractor}-n_envs-2/seed-0" for extractor in ("coordconv", "nature")
    ]
    for run in runs.values():
        assert run.is_finished
        assert run.final_model.exists()
        assert "Done: " in run.output.read_text()
        # Running the command of a run again has nothing to do.
        command = [sys.executable, *run.command.read_text().split()]
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "is already finished" in again.stdout
    assert "To compare the runs: python " in out


def test_dry_run_and_print_show_commands_of_unfinished_runs(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    first = tmp_path / "runs" / "a2c" / "MsPacman" / "nature-n_envs-2" / "seed-0"
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


def test_a_toy_study_imports_neither_ale_py_nor_stable_baselines3(tmp_path):
    study = write_study(tmp_path, {"seed": [0]}, TOY)
    code = """
import runpy, sys
with_exit = lambda: runpy.run_path(sys.argv[0], run_name="__main__")
sys.argv = sys.argv[1:]
try:
    with_exit()
except SystemExit as exit_:
    assert exit_.code == 0
unwanted = {"ale_py", "stable_baselines3", "gymnasium", "ray"} & sys.modules.keys()
assert not unwanted, unwanted
"""
    with start_python("-c", code, SCRIPT, study, "--dry-run") as process:
        assert finish(process).startswith("python ")


def test_each_run_trains_once_on_free_cores_and_the_best_are_listed(tmp_path, capfd):
    fixed = {name: value for name, value in TOY.items() if name != "num_threads"}
    study = write_study(tmp_path, {"l2": [0.001]}, {**fixed, "n_epochs": 1})
    assert main(study) == 0
    (alone,) = runs_in(tmp_path / "runs").values()
    assert yaml.safe_load(alone.config.read_text())["num_threads"] == n_cores()
    assert "Best" not in capfd.readouterr().out

    assert main(study, "--l2", "0.001,0") == 0
    runs = runs_in(tmp_path / "runs").values()
    assert [starts(run) for run in runs] == [1, 1]
    _, best = capfd.readouterr().out.split("Best by test/accuracy:\n")
    assert {Path(line.split()[1]) for line in best.splitlines()} == {run.folder for run in runs}


def test_printed_commands_may_name_a_gpu_of_another_machine(study, capsys):
    assert main(study, "--backend", "print", "--device", "cuda:7") == 0
    assert "--device cuda:7" in capsys.readouterr().out


def test_list_trains_nothing(study, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr("rl_coordconv.study.local.LocalPool.start")
    assert main(study, "--list", "--log-dir", tmp_path / ("long" * 50)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["nature-n_envs-2/seed-0", "0", "200", "steps", "unknown"]
    assert lines[5:] == ["4 runs, 4 unfinished", "Add --measure to estimate how long they take."]
    assert list(tmp_path.iterdir()) == [study]


def test_without_a_terminal_a_list_has_one_line_per_run(tmp_path, capsys):
    vary = {"learning_rate": [1e-5, 1e-4], "gamma": [0.9], "env": ["Pong", "VideoPinball"]}
    assert main(write_study(tmp_path, vary, A2C | {"ent_coef": 0.125}), "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == [
        f"{env}/coordconv-n_envs-2-learning_rate-{rate}-gamma-0.9-ent_coef-0.125"
        for rate in vary["learning_rate"]
        for env in vary["env"]
    ]


FINISHED = "All 4 runs are finished. Use a larger --total-timesteps to train longer.\n"


def finish_runs(study: Path, flags: Mapping[str, str] | None = None) -> None:
    """Create the folders of finished runs."""
    for planned in read_study(study, ROOT / "configs", flags):
        planned.run.folder.mkdir(parents=True)
        planned.run.config.write_text(yaml.safe_dump(planned.config.model_dump()))
        planned.run.checkpoints.mkdir()
        (planned.run.checkpoints / "step-0000000200.zip").touch()
        planned.run.done.touch()


@pytest.mark.parametrize(
    "flags", ["", "--list", "--measure", "--backend ray --address 127.0.0.1:1", "--device cuda"]
)
def test_a_finished_study_says_so_and_starts_nothing(flags, study, capsys, monkeypatch):
    monkeypatch.delattr("rl_coordconv.study.local.LocalPool.start")
    finish_runs(study)
    assert main(study, *flags.split()) == 0
    assert capsys.readouterr().out.endswith(FINISHED)


@pytest.mark.parametrize("flags", ["--dry-run", "--backend print"])
def test_a_finished_study_has_no_commands_and_says_so_on_stderr(flags, study, capsys):
    finish_runs(study)
    assert main(study, *flags.split()) == 0
    assert capsys.readouterr() == ("", FINISHED)
    assert main(study, *flags.split(), "--total-timesteps", "400") == 0
    out, error = capsys.readouterr()
    assert (out.count("\n"), error) == (4, "")


def test_a_study_that_is_partly_finished_lists_its_results_so_far(study, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    finish_runs(study, {"seed": "0"})
    for planned in read_study(study, ROOT / "configs", {"seed": "0"}):
        planned.run.episodes.touch()
    assert main(study, "--list") == 0
    out = capsys.readouterr().out
    assert [line.split()[-1] for line in out.splitlines()[1:3]] == ["finished", "finished"]
    assert "4 runs, 2 unfinished\n" in out
    assert "To compare the runs: python scripts/compare.py " in out
    assert main(study, "--dry-run") == 0
    assert capsys.readouterr().out.count("\n") == 2


def test_measure_lists_the_time_of_each_run_and_leaves_no_files(tmp_path, capsys):
    fixed = {name: value for name, value in TOY.items() if name != "num_threads"}
    study = write_study(tmp_path, {"seed": [0, 1]}, {**fixed, "n_epochs": 1000})
    assert main(study, "--list", "--measure") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.startswith("seed-")]
    assert [row[:4] for row in rows] == [[f"seed-{n}", "0", "1,000", "epochs"] for n in (0, 1)]
    hours, minutes, seconds = map(int, rows[0][4].split(":"))
    assert 3600 * hours + 60 * minutes + seconds > 10
    assert "2 runs, 2 unfinished: " in out
    assert f" with {n_cores()} at once on this machine" in out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--sed 1", "There is no flag --sed for a2c; did you mean --seed?"),
        ("--extractor cordconv", "There is no extractor 'cordconv'; did you mean coordconv?"),
        ("--seed 1,1", "--seed lists 1 twice; remove one."),
        ("--parallel 0", "--parallel must be at least 1, not 0."),
        ("--retries -1", "--retries must be at least 0, not -1."),
        ("--backend slurm", "Argument --backend: invalid choice: 'slurm' "),
        ("--batch-size 3", "There is no flag --batch-size for a2c; there are: --address, "),
        ("--experiment ppo,a2c --batch-size 64", "There is no flag --batch-size for a2c; "),
        ("--retires 3", "There is no flag --retires for a2c; did you mean --retries?"),
        ("--dryrun", "There is no flag --dryrun; did you mean --dry-run?"),
        ("--mesure", "There is no flag --mesure; did you mean --measure?"),
        ("--list --dry-run", "Argument --dry-run: not allowed with argument --list."),
        ("--dry-run --measure", "--measure lists the runs; leave out --dry-run."),
        ("--lst --seed 1", "There is no flag --lst; did you mean --list?"),
        ("--seed", "Argument --seed: expected one argument."),
        ("--seed --list", "Argument --seed: expected one argument."),
        ("-x", "There is no flag -x; there are: --address"),
        ("--log-dir /dev/null/runs", "Cannot write to /dev/null/runs: "),
        ("--backend ray --address 127.0.0.1:1", "Cannot connect to a Ray cluster at 127.0.0.1:1: "),
        (
            "--backend ray --address here:x",
            "here:x is not the address of a Ray cluster, such as 10.0.0.1:6379.",
        ),
        ("--backend ray --address ..:1", "Cannot connect to a Ray cluster at ..:1: "),
        ("--address 127.0.0.1:1", "--address names a Ray cluster; add --backend ray."),
        ("--experiment apex --backend ray", "Ape-X starts processes on Ray itself: "),
        ("--device cuda:0", "cuda:0 is one GPU, but a study assigns GPUs to its runs: "),
        ("--gpus-per-run nan", "--gpus-per-run must be at least 0, not nan."),
    ],
)
def test_mistakes_are_reported_in_one_sentence_before_training(
    flags, sentence, study, tmp_path, capsys
):
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
        ("", "{study} must contain settings"),
        ("vary: [", "{study} is not valid YAML: see line "),
    ],
)
def test_an_invalid_study_file_is_reported_in_one_sentence(text, sentence, study, capsys):
    study.unlink() if text is None else study.write_text(text)
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith(sentence.format(study=study))


def test_a_missing_extra_is_reported_in_one_sentence(study, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "rl_coordconv.study.cluster", raising=False)
    with pytest.raises(SystemExit) as exit_:
        main(study, "--backend", "ray")
    assert exit_.value.code == 2
    assert "pip install 'rl_coordconv[ray]'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_missing_gpu_is_reported_in_one_sentence(study, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(study, "--device", "cuda")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "There is no GPU on this machine; choose --device cpu.\n"
    assert list(tmp_path.iterdir()) == [study]


@pytest.mark.parametrize("in_file", [False, True])
def test_a_seed_out_of_range_is_reported_in_one_sentence(tmp_path, capsys, in_file):
    study = write_study(tmp_path, {"seed": [0, 2**32 if in_file else 1]}, A2C)
    with pytest.raises(SystemExit) as exit_:
        main(study, *([] if in_file else ["--seed", f"0,{2**32}"]))
    assert exit_.value.code == 2
    name = f"{study}: seed" if in_file else "--seed"
    assert capsys.readouterr().err == f"{name} must be at most 4294967295, not 4294967296.\n"
    assert list(tmp_path.iterdir()) == [study]


@pytest.mark.parametrize("in_file", [False, True])
def test_a_tilde_is_expanded_to_the_home_folder(tmp_path, capsys, monkeypatch, in_file):
    monkeypatch.setenv("HOME", str(tmp_path))
    log_dir = {"log_dir": "~/elsewhere"}
    write_study(tmp_path, {"seed": [0], "n_steps": [5]}, A2C | (log_dir if in_file else {}))
    flags = [] if in_file else ["--log-dir=~/elsewhere"]
    assert main("~/study.yaml", "--backend", "print", *flags) == 0
    assert "--log-dir" in capsys.readouterr().out
    (run,) = read_study(tmp_path / "study.yaml", ROOT / "configs", {} if in_file else log_dir)
    assert run.run.folder == tmp_path / "elsewhere/a2c/MsPacman/coordconv-n_envs-2/seed-0"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("letter.txt", b"Dear", "contains other files; choose another --log-dir."),
        ("config.yaml", b"\xff\xfe", "config.yaml is damaged; delete that folder."),
    ],
)
def test_a_folder_that_is_not_a_run_is_reported_before_the_first_run(
    name, content, sentence, study, tmp_path, capsys
):
    folder = tmp_path / "runs" / "a2c" / "MsPacman" / "coordconv-n_envs-2" / "seed-1"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert capsys.readouterr().err.endswith(f"{sentence}\n")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["study.yaml", name]


def test_runs_with_other_settings_are_refused(study, tmp_path, capsys):
    folder = tmp_path / "runs" / "a2c" / "MsPacman" / "coordconv-n_envs-2" / "seed-1"
    folder.mkdir(parents=True)
    settings = yaml.safe_load((ROOT / "configs" / "a2c.yaml").read_text())
    settings |= {key: value for key, value in A2C.items() if key != "experiment"}
    settings |= {"seed": 1, "total_timesteps": 300}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "DONE").touch()
    with pytest.raises(SystemExit) as exit_:
        main(study)
    assert exit_.value.code == 2
    assert "total_timesteps was 300, now 200" in capsys.readouterr().err
    assert len(runs_in(tmp_path)) == 1


def test_printed_commands_need_not_be_read_to_the_end(study):
    log_dir = "/".join(["x" * 100] * 20)  # more than a pipe holds
    seeds = ",".join(map(str, range(50)))
    flags = ("--backend", "print", "--seed", seeds, "--log-dir", log_dir)
    command = [sys.executable, SCRIPT, study, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == b""
