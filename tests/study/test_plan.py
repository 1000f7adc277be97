"""Reading study files."""

import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from study.runs import ROOT, TOY

from rl_coordconv.experiments.atari.config import A2CConfig
from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.runs.command_line import parse_args
from rl_coordconv.runs.config import UserError
from rl_coordconv.study.plan import PlannedRun, read_study

CONFIGS = ROOT / "configs"
SEEDED_STUDIES = [
    file for file in sorted(CONFIGS.glob("studies/*.yaml")) if not file.stem.startswith("toy_")
]
A2C = {"experiment": "a2c"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def plan(file: Path, vary: object, fixed: object, **flags: str) -> list[PlannedRun]:
    file.write_text(yaml.safe_dump({"vary": vary, "fixed": fixed}, sort_keys=False))
    return read_study(file, CONFIGS, flags)


def test_the_last_list_varies_fastest(file):
    vary = {"seed": [0, 1], "extractor": ["nature", "coordconv"]}
    assert [str(planned.run.folder) for planned in plan(file, vary, A2C)] == [
        "runs/a2c/MsPacman/nature/seed-0",
        "runs/a2c/MsPacman/coordconv/seed-0",
        "runs/a2c/MsPacman/nature/seed-1",
        "runs/a2c/MsPacman/coordconv/seed-1",
    ]


def test_other_settings_are_the_defaults_except_for_the_threads(file):
    (planned,) = plan(file, {}, {**A2C, "gamma": 0.5})
    defaults = yaml.safe_load((CONFIGS / "a2c.yaml").read_text())
    settings = {**A2C, **defaults, "gamma": 0.5, "num_threads": 1}
    assert planned.config.model_dump() == settings


def test_the_algorithm_may_vary(file):
    names = [
        planned.run.folder.parts[1] for planned in plan(file, {"experiment": ["a2c", "ppo"]}, {})
    ]
    assert names == ["a2c", "ppo"]


def test_a_folder_has_the_settings_that_differ_from_the_config_file(file):
    vary = {"learning_rate": [0.001, 0.002], "gamma": [0.9, 0.99], "seed": [0, 1]}
    folders = [str(planned.run.folder) for planned in plan(file, vary, {**A2C, "log_dir": "x"})]
    assert folders[0] == "x/a2c/MsPacman/coordconv-learning_rate-0.001-gamma-0.9/seed-0"
    assert len(set(folders)) == 8


def test_a_runs_folder_does_not_depend_on_how_settings_are_written(file):
    (first, *_) = plan(file, {"learning_rate": [0.001, 0.1], "max_grad_norm": [1, 2]}, A2C)
    (same, *_) = plan(file, {"max_grad_norm": [1.0, 2.0], "learning_rate": [1e-3, 0.1]}, A2C)
    assert same.run.folder == first.run.folder
    (same, *_) = plan(file, {}, A2C, learning_rate="0.0010,.1", max_grad_norm="1,2")
    assert same.run.folder == first.run.folder


def test_the_studys_number_of_threads_is_kept(file):
    (free,) = plan(file, {}, A2C)
    assert free.with_threads(4).config.num_threads == 4
    assert "--num-threads 4" in free.with_threads(4).command()
    (chosen,) = plan(file, {}, {**A2C, "num_threads": 2})
    assert chosen.with_threads(4).config.num_threads == 2


def test_log_dir_may_contain_a_comma(file):
    (planned,) = plan(file, {}, A2C, log_dir="a,b")
    assert planned.run.folder.parts[0] == "a,b"


def test_a_runs_folder_does_not_depend_on_the_number_of_values(file):
    vary = {"learning_rate": [0.001], "extractor": ["nature"]}
    (one,) = plan(file, vary, A2C)
    assert str(one.run.folder) == "runs/a2c/MsPacman/nature-learning_rate-0.001/seed-0"
    (same, _) = plan(file, {**vary, "learning_rate": [0.001, 0.002]}, A2C)
    assert same.run.folder == one.run.folder
    (same,) = plan(file, {**vary, "learning_rate": [0.002]}, A2C, learning_rate="1e-3")
    assert same.run.folder == one.run.folder


def test_flags_replace_the_study(file):
    vary = {"seed": [0, 1, 2], "extractor": ["nature", "coordconv", "coordconv-all"]}
    chosen = plan(
        file, vary, A2C, seed="0,1", extractor="nature,coordconv-r", total_timesteps="1e6"
    )
    names = [str(planned.run.folder.relative_to("runs/a2c/MsPacman")) for planned in chosen]
    assert names == ["nature/seed-0", "coordconv-r/seed-0", "nature/seed-1", "coordconv-r/seed-1"]
    assert {planned.config.length for planned in chosen} == {1_000_000}


@given(
    seed=st.integers(0, 10**6),
    gamma=st.floats(0, 1),
    device=st.sampled_from(["auto", "cpu"]),
    log_dir=st.text(st.characters(codec="ascii", exclude_characters="\0\n\r~$"), min_size=1),
)
@settings(max_examples=25, deadline=None)
def test_the_command_of_a_run_makes_the_same_run(tmp_path_factory, seed, gamma, device, log_dir):
    file = tmp_path_factory.mktemp("study") / "study.yaml"
    fixed = {**A2C, "gamma": gamma, "device": device, "log_dir": f"x{log_dir}"}
    (planned,) = plan(file, {"seed": [seed]}, fixed)
    python, script, *argv = shlex.split(planned.command())
    assert (python, script) == ("python", "scripts/train_a2c.py")
    config, _ = parse_args(A2CConfig, CONFIGS / "a2c.yaml", "", argv)
    assert config.model_dump() == planned.config.model_dump()


def test_the_command_of_a_toy_run_makes_the_same_run(file):
    (planned,) = plan(file, {}, TOY)
    argv = shlex.split(planned.command())[2:]
    config, _ = parse_args(ToyConfig, CONFIGS / "toy", "", argv)
    assert config == planned.config


@pytest.mark.parametrize("file", SEEDED_STUDIES, ids=lambda file: file.stem)
def test_the_included_studies_start_with_a_run_of_every_variant(file):
    chosen = read_study(file, CONFIGS)
    assert len({planned.run.folder for planned in chosen}) == len(chosen)
    assert len({planned.config.seed for planned in chosen}) >= 3
    variants = len({planned.run.folder.parent for planned in chosen})
    assert len({planned.run.folder.parent for planned in chosen[:variants]}) == variants


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("classification_deconv", 324),
        ("classification_coordconv", 6),
        ("rendering_deconv", 648),
        ("rendering_coordconv", 8),
        ("regression_conv", 9),
    ],
)
def test_a_grid_has_as_many_runs_as_the_authors_grid(name, number):
    """The commands for CoordConv are in the comments at the top of the files."""
    task, model = name.split("_")
    file = CONFIGS / "studies" / f"toy_{task}.yaml"
    text = file.read_text().replace("\\\n#", "")
    words = next((x for x in text.splitlines() if f"--model {model} " in x), "").split("--")[1:]
    flags = {k.replace("-", "_"): value for k, value in (word.split() for word in words)}
    runs = read_study(file, CONFIGS, flags)
    assert len({planned.run.folder for planned in runs}) == number
    assert {(p.config.task, p.config.model, p.config.preset) for p in runs} == {
        (task, model, "paper")
    }


@pytest.mark.parametrize("model", ["deconv-bottleneck", "upsample-conv", "upsample-coordconv"])
def test_the_controls_of_rendering_share_the_deconvolutions_grid(model):
    file = CONFIGS / "studies" / "toy_rendering.yaml"
    flags = {"model": model, "learning_rate": "0.01", "l2": "0", "filter_size": "2,3"}
    runs = read_study(file, CONFIGS, flags)
    assert len(runs) == 2 * 3 * 2 * 2
    assert all(planned.run.folder.parent.name.startswith(f"{model}-raw") for planned in runs)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"fixed": {**A2C, "seeds": 1}}, "study.yaml: seeds is not a setting; did you mean seed?"),
        (
            {"vary": {"extractor": ["cordconv"]}, "fixed": A2C},
            "There is no extractor 'cordconv'; did you mean coordconv?",
        ),
        (
            {"fixed": {**A2C, "extractor": ["nature", "coordconv"]}},
            "study.yaml: extractor under fixed must be one value, not ['nature', 'coordconv'].",
        ),
        ({"fixed": {**TOY, "task": 1}}, "There is no task '1'; there are: classification, "),
        ({"fixed": {**TOY, "model": 1}}, "There is no classification model '1'; there are: "),
        ({"fixed": {**TOY, "preset": 1}}, "There is no preset '1'; there are: paper, quick."),
        ({"fixed": {**TOY, "config": 3}}, "Cannot read the config file 3: "),
        ({"fixed": {"seed": 1}}, "study.yaml must name an experiment, as in `experiment: a2c`"),
        ({"fixed": {"experiment": "a3c"}}, "There is no experiment 'a3c'; did you mean a2c?"),
        (
            {"vary": {"seed": []}, "fixed": A2C},
            "study.yaml: seed under vary must be a list of values, not [].",
        ),
        (
            {"vary": {"seed": 3}, "fixed": A2C},
            "study.yaml: seed under vary must be a list of values, not 3.",
        ),
        (
            {"vary": {"seed": [0, 1, 0]}, "fixed": A2C},
            "study.yaml: seed lists 0 twice; remove one.",
        ),
        (
            {"vary": {"env": ["MsPacman", "ms_pacman"]}, "fixed": A2C},
            "study.yaml: env: two runs have the folder runs/a2c/MsPacman/coordconv/seed-0.",
        ),
        (
            {"vary": {"seed": [0]}, "fixed": {**A2C, "seed": 1}},
            "study.yaml: seed is under fixed and under vary; remove one.",
        ),
        (
            {"vary": {"log_dir": ["a", "b"]}, "fixed": A2C},
            "log_dir is the folder of all runs; it cannot vary.",
        ),
        ({"fixed": {1: 2}}, "study.yaml: fixed must contain settings, one `name: value` per line."),
        ({"varies": {}}, "study.yaml: varies is not a block; did you mean vary?"),
        ({"fixed": [1]}, "study.yaml: fixed must contain settings, one `name: value` per line."),
        (
            {"fixed": {**A2C, "n_envs": "many"}},
            "study.yaml: n_envs must be a whole number, not 'many'.",
        ),
        (
            {"fixed": {**TOY, "model": "conv"}},
            "There is no classification model 'conv'; did you mean deconv?",
        ),
        ({}, "study.yaml must name an experiment"),
    ],
)
def test_mistakes_are_reported_in_one_sentence(content, sentence, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as error:
        read_study(Path(file.name), CONFIGS)
    assert str(error.value).startswith(sentence)


def test_a_wrong_value_of_a_flag_is_reported_with_the_flag(file):
    with pytest.raises(UserError, match="^--n-envs must be a whole number, not 'many'"):
        plan(file, {}, A2C, n_envs="many")
    with pytest.raises(UserError, match="^--seed lists 1 twice"):
        plan(file, {}, A2C, seed="1,1")
