import re
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import Field
from tiny import BASE, BareConfig

from rl_coordconv import __version__
from rl_coordconv.runs.command_line import Parser, one_sentence_errors, parse_args
from rl_coordconv.runs.config import SmallCount, UserError


class TinyConfig(BareConfig):
    n_envs: SmallCount = Field(description="games at once")
    gamma: float = Field(gt=0, le=1, description="discount, 100% at most")
    mode: Literal["slow", "fast"] = Field(description="how")


VALID = "n_envs: 4\ngamma: 0.9\nmode: slow\nlog_dir: runs\n" + yaml.safe_dump(BASE)


def load(file: Path) -> TinyConfig:
    return TinyConfig.load(TinyConfig.find_defaults(file, {}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(VALID)
    return path


def test_a_file_becomes_a_frozen_config(file):
    config = load(file)
    assert config.model_dump() == {
        "experiment": "tiny",
        "seed": 0,
        "device": "cpu",
        "num_threads": 1,
        "log_dir": "runs",
        "save_freq": 1,
        "n_envs": 4,
        "gamma": 0.9,
        "mode": "slow",
    }
    with pytest.raises(ValueError, match="frozen"):
        config.n_envs = 5


def test_flags_override_the_file(file):
    argv = ["--n-envs", "8", "--gamma=1", "--overwrite"]
    config, switches = parse_args(TinyConfig, file, "Tiny.", argv)
    assert (config.n_envs, config.gamma, config.mode) == (8, 1.0, "slow")
    assert switches == (True, False)


def test_config_names_a_file_that_overrides_the_defaults(file, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(VALID.replace("slow", "fast"))
    config, switches = parse_args(TinyConfig, file, "Tiny.", ["--config", str(other), "--track"])
    assert config.mode == "fast"
    assert switches == (False, True)


def test_a_config_file_may_contain_some_settings_only(file, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("mode: fast\ngamma: 5e-1\n")
    argv = ["--config", str(other)]
    config, _ = parse_args(TinyConfig, file, "Tiny.", argv)
    assert (config.n_envs, config.gamma, config.mode) == (4, 0.5, "fast")
    config, _ = parse_args(TinyConfig, file, "Tiny.", [*argv, "--mode", "slow"])
    assert (config.gamma, config.mode) == (0.5, "slow")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_envs: many\n", "{other}: n_envs must be a whole number"),
        ("n_env: 4\n", "{other}: n_env is not a setting; did you mean n_envs?"),
        ("4\n", "{other} must contain settings"),
    ],
)
def test_a_mistake_in_a_config_file_names_that_file(file, tmp_path, text, message):
    other = tmp_path / "other.yaml"
    other.write_text(text)
    with pytest.raises(UserError, match=re.escape(message.format(other=other))):
        parse_args(TinyConfig, file, "Tiny.", ["--config", str(other)])


def test_whole_numbers_may_be_written_with_an_exponent(file, tmp_path):
    assert parse_args(TinyConfig, file, "Tiny.", ["--save-freq", "1e6"])[0].save_freq == 1_000_000
    other = tmp_path / "other.yaml"
    other.write_text("n_envs: 1e3\n")
    argv = ["--config", str(other)]
    assert parse_args(TinyConfig, file, "Tiny.", argv)[0].n_envs == 1000


def test_help_gives_each_field_with_its_default(file, capsys):
    with pytest.raises(SystemExit) as exit_:
        parse_args(TinyConfig, file, "Tiny.", ["--help"])
    assert exit_.value.code == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "--n-envs N games at once (default: 4)" in text
    assert "--mode slow|fast how (default: slow)" in text
    assert "--gamma X discount, 100% at most (default: 0.9)" in text
    assert text.index("--n-envs N") < text.index("--seed N")  # the experiment's flags come first
    assert "--experiment" not in text


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--n-envs", "-1"], "--n-envs must be at least 1, not -1."),
        (["--n-envs", "0"], "--n-envs must be at least 1, not 0."),
        (["--n-envs", "many"], "--n-envs must be a whole number, not 'many'."),
        (["--n-envs", "1.5"], "--n-envs must be a whole number, not 1.5."),
        (["--n-envs", "inf"], "--n-envs must be a whole number, not inf."),
        (["--gamma", "2"], "--gamma must be at most 1.0, not 2.0."),
        (["--mode", "slwo"], "--mode must be 'slow' or 'fast', not 'slwo'; did you mean slow?"),
        (["--n-evns", "1"], "There is no flag --n-evns; did you mean --n-envs?"),
        (["--n-env", "1"], "There is no flag --n-env; did you mean --n-envs?"),
        (
            ["--experiment", "a2c"],
            "There is no flag --experiment; there are: --config, --device, --gamma, --log-dir,"
            " --mode, --n-envs, --num-threads, --overwrite, --save-freq, --seed, --track.",
        ),
        (["--n-envs", "1e18"], "--n-envs must be at most 4096, not 1000000000000000000."),
        (["fast"], "There is no flag fast; did you mean --mode fast?"),
        (["--fast"], "There is no flag --fast; did you mean --mode fast?"),
        (["discount=1"], "There is no flag discount=1; did you mean --gamma 1?"),
        (["mode=slwo"], "There is no flag mode=slwo; did you mean --mode slow?"),
        (["--device", "tpu"], "There is no device 'tpu'; choose auto, cpu, cuda or cuda:N."),
        (["--n-envs"], "Argument --n-envs: expected one argument."),
    ],
)
def test_a_wrong_flag_is_a_one_sentence_error(file, argv, sentence):
    with pytest.raises(UserError) as error:
        parse_args(TinyConfig, file, "Tiny.", argv)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (VALID + "gama: 1.0\n", "{file}: gama is not a setting; did you mean gamma?"),
        (VALID.replace("4", "four"), "{file}: n_envs must be a whole number, not 'four'."),
        (VALID.replace("4", "true"), "{file}: n_envs must be a whole number, not True."),
        (VALID.replace("4", "4.5"), "{file}: n_envs must be a whole number, not 4.5."),
        (VALID.replace("0.9", "9e"), "{file}: gamma must be a number, not '9e'."),
        (VALID.replace("runs", "3"), "{file}: log_dir must be text, not 3."),
        (VALID.replace("mode: slow\n", ""), "{file}: mode is missing."),
        ("n_envs: [1, 2\ngamma: 1\n", "{file} is not valid YAML: see line 2."),
        ("- 1\n", "{file} must contain settings, one `name: value` per line."),
        ("", "{file} must contain settings, one `name: value` per line."),
    ],
)
def test_a_wrong_file_is_a_one_sentence_error(file, text, sentence):
    file.write_text(text)
    with pytest.raises(UserError) as error:
        parse_args(TinyConfig, file, "Tiny.", [])
    assert str(error.value) == sentence.format(file=file)


def test_a_missing_file_is_a_one_sentence_error(tmp_path):
    with pytest.raises(UserError, match="Cannot read the config file .*: No such file"):
        load(tmp_path / "missing.yaml")


def test_a_binary_file_is_a_one_sentence_error(file):
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is not text"):
        load(file)


def test_a_users_mistake_is_printed_with_exit_code_2(capsys):
    with pytest.raises(SystemExit) as exit_, one_sentence_errors():
        raise UserError("Do this instead.")
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "Do this instead.\n"


@pytest.mark.parametrize(
    "error", [MemoryError("Unable to allocate 9 PiB"), RuntimeError("CUDA out of memory.\nMore.")]
)
def test_too_little_memory_is_a_one_sentence_error(capsys, error):
    with pytest.raises(SystemExit) as exit_, one_sentence_errors():
        raise error
    assert exit_.value.code == 2
    sentence = f"There is not enough memory for these settings ({str(error).splitlines()[0]}).\n"
    assert capsys.readouterr().err == sentence
    with pytest.raises(RuntimeError, match="other"), one_sentence_errors():
        raise RuntimeError("other")


def test_parsers_of_other_scripts_suggest_flags_too(capsys):
    parser = Parser()
    parser.add_argument("--episodes")
    parser.add_subparsers().add_parser("layer").add_argument("--dtype")
    for word, hint in (("--n-episodes", "--episodes"), ("--dtpe", "--dtype")):
        with pytest.raises(UserError, match=f"no flag {word}; did you mean {hint}\\?"):
            parser.parse_args(["layer", word, "3"])
    with pytest.raises(SystemExit):
        parser.parse_args(["--version"])
    assert capsys.readouterr().out == f"rl_coordconv {__version__}\n"


def test_ctrl_c_prints_one_sentence(capsys):
    with pytest.raises(SystemExit) as exit_, one_sentence_errors():
        raise KeyboardInterrupt
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "Interrupted.\n"
