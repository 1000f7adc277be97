"""``rl-coordconv``: the same commands as the files in ``scripts/``, without a checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

from rl_coordconv import commands
from rl_coordconv.commands import COMMANDS, main
from rl_coordconv.experiments import CONFIGS, EXPERIMENTS
from rl_coordconv.runs.hints import nearest

ROOT = Path(__file__).parents[2]


def fails(*argv: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    return exit_.value.code


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """No checkout, in an empty folder."""
    monkeypatch.setattr("rl_coordconv.runs.shell._SCRIPTS", tmp_path / "scripts")
    monkeypatch.chdir(tmp_path)


def test_every_script_for_users_is_a_command():
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "scripts").glob("*.py")}
    assert {name for name in scripts if not name.startswith("report-")} == set(COMMANDS)
    assert {experiment.command for experiment in EXPERIMENTS.values()} < set(COMMANDS)


@pytest.mark.parametrize("argv", [[], ["-h"], ["--help"]])
def test_without_a_command_they_are_listed_one_a_line(argv, capsys):
    assert main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, sentence in COMMANDS.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert line.endswith(sentence)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("train_a2c", "did you mean train-a2c?"),
        ("trian-ppo", "did you mean train-ppo?"),
        ("a2c", "did you mean train-a2c?"),
        ("toy", "did you mean train-toy?"),
        ("eval", "did you mean evaluate?"),
        ("sweep", "did you mean study?"),
        ("--extractor", "there are: bench, compare, "),
    ],
)
def test_an_unknown_command_is_one_sentence(name, hint, capsys):
    assert main([name, "--seed", "1"]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith(f"There is no command {name}; {hint}")


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "rl_coordconv 0.1.0\n"


@pytest.mark.parametrize(
    ("argv0", "usage"),
    [
        ("/usr/bin/rl-coordconv", "usage: rl-coordconv evaluate "),
        ("rl_coordconv/__main__.py", "usage: rl-coordconv evaluate "),
        ("scripts/evaluate.py", "usage: evaluate.py "),
    ],
)
def test_help_names_what_was_typed(argv0, usage, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [argv0, "evaluate", "--help"])
    assert fails("evaluate", "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith(usage)
    assert COMMANDS["evaluate"] in out


def test_help_and_a_mistake_need_no_torch():
    """It takes more than a second to import."""
    mistakes = [[name, flag] for name in COMMANDS for flag in ("--help", "--sed")]
    mistakes += [["bench", "layer", "--devise", "cpu"], ["study", "mspacman_a2c", "--sed", "1"]]
    mistakes += [["train-a2c", "--extractor", "cordconv"], ["train-toy", "--model", "no"]]
    mistakes += [["train-ppo", "coordconv"]]
    code = f"""
import sys
from rl_coordconv.commands import main
heavy = {{"torch", "stable_baselines3", "matplotlib", "pandas", "ray"}}
for argv in {mistakes}:
    try:
        main(argv)
    except SystemExit as end:
        assert end.code == (0 if argv[-1] == "--help" else 2), argv
    else:
        raise AssertionError(argv)
    assert not heavy & sys.modules.keys(), (argv, heavy & sys.modules.keys())
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_messages_name_the_script_in_a_checkout_and_the_command_elsewhere(
    installed, monkeypatch, capsys
):
    assert nearest("--algo", ["--seed"]).endswith("such as rl-coordconv train-ppo.")
    assert fails("study", "--help") == 0
    assert "`rl-coordconv train-a2c --help`" in " ".join(capsys.readouterr().out.split())
    monkeypatch.undo()
    monkeypatch.chdir(ROOT / "docs")
    assert nearest("--algo", ["--seed"]).endswith("such as python ../scripts/train_ppo.py.")


@pytest.mark.parametrize("flags", [["--dry-run"], ["--backend", "print"]])
def test_an_included_study_prints_commands_that_work_elsewhere(installed, flags, capsys):
    assert main(["study", "mspacman_a2c", "--seed", "0", *flags]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert line.startswith("rl-coordconv train-a2c --")
        name, *words = line.split()[1:]
        assert fails(name, *words, "--extractor", "no") == 2
        assert capsys.readouterr().err.startswith("There is no extractor 'no'")


def test_a_study_is_a_name_or_a_file(installed, tmp_path, capsys):
    assert fails("study", "mspacman_a2") == 2
    assert capsys.readouterr().err == (
        "There is no study mspacman_a2; did you mean mspacman_a2c?\n"
    )
    assert fails("study", "./mspacman_a2c.yaml") == 2
    assert capsys.readouterr().err.startswith("Cannot read the config file mspacman_a2c.yaml: ")
    own = (CONFIGS / "studies" / "mspacman_ppo.yaml").read_text()
    (tmp_path / "mspacman_a2c").write_text(own)  # a file of one's own wins
    assert main(["study", "mspacman_a2c", "--list"]) == 0
    assert "a2c" not in capsys.readouterr().out
    assert fails("study", "--help") == 0
    text = capsys.readouterr().out
    assert all(path.stem in text for path in (CONFIGS / "studies").glob("*.yaml"))


def test_bench_offers_what_its_parts_know(capsys):
    from rl_coordconv.bench import DTYPES, MEMORY_FORMATS, layer

    assert fails("bench", "layer", "--help") == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*DTYPES, *MEMORY_FORMATS))
    assert layer._MEMORY_FORMATS.keys() == set(MEMORY_FORMATS)


def test_a_script_is_its_command(monkeypatch):
    calls = []
    monkeypatch.setattr(commands, "run", lambda name, argv: calls.append((name, argv)) or 0)
    for name in COMMANDS:
        script = ROOT / "scripts" / f"{name.replace('-', '_')}.py"
        given: dict[str, object] = {}
        exec(script.read_text(), given)
        assert given["main"](["--help"]) == 0
    assert calls == [(name, ["--help"]) for name in COMMANDS]
