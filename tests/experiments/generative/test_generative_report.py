"""Tables and figures made from run folders, and the pages in the repository."""

import shutil
from pathlib import Path
from typing import get_args

import pytest
from figures import missing
from paper_reports import assert_pages_are_up_to_date, write_finished_run
from PIL import Image

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.generative.groups import group_runs
from rl_coordconv.experiments.generative.names import GANModel, VAEModel
from rl_coordconv.experiments.generative.pictures import COLOURS, curves
from rl_coordconv.experiments.generative.report import REPORT, data_metrics, tables
from rl_coordconv.experiments.generative.train import make_learner, read_images
from rl_coordconv.runs.checkpoint import load_tensors, save_tensors
from rl_coordconv.runs.folder import Run
from rl_coordconv.runs.stored import read_stored_study, stored_runs
from scripts import run_script

ROOT = Path(__file__).parents[3]
SMALL = {"canvas": 16, "n_images": 64, "channels": 2}
COMMON = {
    "samples/good": 0.5,
    "samples/coverage": 0.25,
    "samples/entropy_red": 3,
    "samples/entropy_blue": 2,
    "samples/entropy_difference": 1,
    "samples/nearest_real": 0.125,
    "walk/good": 0.75,
    "walk/middle_good": 0.5,
    "walk/straightness": 0.875,
    "walk/evenness": 0.0625,
    "pixel_walk/good": 0.25,
    "pixel_walk/middle_good": 0,
}
OF_VAE = {"test/good": 1, "test/reconstruction": 1234.5, "test/divergence": 20}


def write_run(
    runs: Path, experiment: str, metrics: dict | None = None, weights: bool = False, **flags
) -> Run:
    """Write a finished run folder as training does, with zeros before the given metrics.

    The weights, if any, are the initial ones.
    """
    config = make_config(experiment, **SMALL | flags, log_dir=str(runs))
    last = {**COMMON, **(OF_VAE if experiment == "vae" else {}), **(metrics or {})}
    run = write_finished_run(config, last, epochs=10, seconds=60.4 + config.seed, updates=625)
    if weights:
        learner = make_learner(config, *read_images(config))
        save_tensors(run.final_weights, learner.model.state_dict())
    return run


def made_tables(runs: Path) -> dict[str, list[list[str]]]:
    """Return the cells of all tables without their heads."""
    made = tables(group_runs(stored_runs(runs, ["progress"])))
    return {
        name: [line[2:-2].split(" | ") for line in table.splitlines()[2:]]
        for name, table in made.items()
    }


def test_a_row_has_the_last_evaluation_of_all_seeds_beside_the_papers(tmp_path):
    write_run(tmp_path, "gan", model="conv")
    write_run(tmp_path, "gan", {"samples/good": 0.25, "walk/good": 0.25}, model="conv", seed=1)
    made = made_tables(tmp_path)
    name = "conv, n images 64, canvas 16, channels 2"
    _, row = made["gan"]
    assert row == [
        *(name, "fair", "quick", "3.13 / 2.69 / 2.81", "37.5% (25.0% to 50.0%)"),
        *("25.0%", "3.00", "2.00", "1.00", "0.125", "2"),
    ]
    assert made["gan-walks"] == [
        [
            *(name, "fair", "quick", "25.0%", "50.0% (25.0% to 75.0%)", "50.0%", "0.88", "0.06"),
            *("25.0%", "0.0%", "2"),
        ]
    ]
    assert made["vae"] == made["vae-walks"] == []


def test_a_row_of_a_vae_has_its_reconstructions_too(tmp_path):
    write_run(tmp_path, "vae", model="coordconv-noise", preset="paper", **SMALL)
    made = made_tables(tmp_path)
    name = "coordconv-noise, n images 64, canvas 16, channels 2"
    data, row = made["vae"]
    assert data[:5] == ["data, n images 64, canvas 16", "paper", "-", "-", "-"]
    assert row == [
        *(name, "paper", "100.0%", "1,234.5", "20.0", "50.0%", "25.0%"),
        *("3.00", "2.00", "1.00", "0.125", "1"),
    ]
    assert made["gan"] == made["gan-walks"] == []


def test_the_rows_of_data_are_test_images_of_the_settings_of_the_rows_below(tmp_path):
    write_run(tmp_path, "gan", model="conv")
    write_run(tmp_path, "gan", model="conv", n_images=65)
    write_run(tmp_path, "gan", model="coordconv")
    (conv, coordconv, more) = group_runs(stored_runs(tmp_path))
    rows = made_tables(tmp_path)["gan"]
    assert [row[0] for row in rows] == [
        "data, n images 64, canvas 16",
        *(group.name for group in (conv, coordconv)),
        "data, n images 65, canvas 16",
        more.name,
    ]
    metrics = data_metrics(conv)
    assert metrics["samples/good"] == 1
    assert rows[0][1:] == [
        *("-", "quick", "4.0 / 4.0 / 3.5", "100.0%", f"{metrics['samples/coverage']:.1%}"),
        *(f"{metrics[f'samples/entropy_{kind}']:.2f}" for kind in ("red", "blue", "difference")),
        *(f"{metrics['samples/nearest_real']:.3f}", "-"),
    ]


def test_rows_are_in_the_order_of_the_models_and_the_papers_settings_come_first(tmp_path):
    for model in reversed(get_args(GANModel)):
        write_run(tmp_path, "gan", model=model)
    write_run(tmp_path, "gan", tanh="paper")
    write_run(tmp_path, "gan", preset="paper", **SMALL)
    for model in reversed(get_args(VAEModel)):
        write_run(tmp_path, "vae", model=model)
    end = ", n images 64, canvas 16, channels 2"
    rows = [(row[0], row[1].removesuffix(end), *row[2:4]) for row in made_tables(tmp_path)["runs"]]
    assert rows == [
        ("GAN", "coordconv", "fair", "paper"),
        ("GAN", "conv", "fair", "quick"),
        ("GAN", "coordconv", "fair", "quick"),
        ("GAN", "coordconv", "paper", "quick"),
        *(("GAN", model, "fair", "quick") for model in get_args(GANModel)[2:]),
        *(("VAE", model, "-", "quick") for model in get_args(VAEModel)),
    ]


def test_a_run_has_its_command_times_device_and_numbers_of_parameters(tmp_path):
    settings = {"tanh": "paper", "preset": "paper", "canvas": 64, "channels": 64}
    write_run(tmp_path, "gan", **settings, seed=3)
    write_run(tmp_path, "gan", **settings, seed=10)
    write_run(tmp_path, "vae", model="conv")
    gan, vae = made_tables(tmp_path)["runs"]
    assert gan[4:] == [
        "`python scripts/train_gan.py --model coordconv --preset paper --n-images 64 --tanh paper"
        " --seed 3`",
        *("625", "67 (63 to 70) on cpu"),
        "generator 444,931, discriminator 4,319,745",  # as in the authors' code
        "2",
    ]
    assert (
        vae[4]
        == "`python scripts/train_vae.py --model conv --n-images 64 --canvas 16 --channels 2`"
    )
    assert vae[7].startswith("encoder ")


def test_undefined_metrics_are_left_out_and_counted(tmp_path):
    write_run(tmp_path, "gan", {"walk/straightness": "", "walk/evenness": ""})
    write_run(tmp_path, "gan", {"walk/straightness": ""}, seed=1)
    (row,) = made_tables(tmp_path)["gan-walks"]
    assert row[6:8] == ["-", "0.06, undefined in 1"]


def test_runs_of_other_experiments_and_images_are_ignored(tmp_path):
    write_run(tmp_path, "gan", data=str(tmp_path), canvas=16)
    folder = tmp_path / "a2c"
    folder.mkdir()
    (folder / "config.yaml").write_text("experiment: a2c\n")
    assert not group_runs(stored_runs(tmp_path))


@pytest.mark.parametrize("experiment", ["gan", "vae"])
def test_the_curves_have_a_line_per_seed_and_a_legend(tmp_path, experiment):
    write_run(tmp_path, experiment, model="conv")
    write_run(tmp_path, experiment, model="conv", seed=1)
    write_run(tmp_path, experiment, preset="paper", **SMALL)
    figure = curves(group_runs(stored_runs(tmp_path)))
    assert not missing(figure)
    paper, quick = figure.axes
    end = {"gan": 0.25, "vae": 0.5}[experiment]
    for panel, lines in ((paper, 1), (quick, 2)):
        assert [list(line.get_ydata()) for line in panel.lines] == [[0, end]] * lines
    (legend,) = figure.legends
    names = [text.get_text().partition(",")[0] for text in legend.get_texts()]
    assert names == ["coordconv", "conv"]


def test_the_models_have_different_colours():
    assert COLOURS.keys() == {*get_args(GANModel), *get_args(VAEModel)}
    assert len(set(COLOURS.values())) == len(COLOURS)


def main(*arguments: object) -> int:
    return run_script("report_paper", *arguments)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """The pages of the repository, without stored runs."""
    stored = tmp_path / "docs" / "results" / "generative"
    stored.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "generative.md", tmp_path / "docs")
    shutil.copy(ROOT / "docs" / "results" / "generative" / "README.md", stored)
    return tmp_path / "docs"


def test_the_script_stores_runs_fills_the_pages_and_draws(tmp_path, docs, capsys):
    write_run(tmp_path, "gan", model="conv", weights=True)
    write_run(tmp_path, "gan", model="coordconv", weights=True)
    write_run(tmp_path, "gan", model="coordconv-g")
    write_run(tmp_path, "vae", model="coordconv", weights=True)
    stored = docs / "results" / "generative"
    assert main("generative", tmp_path, "--docs", docs) == 0
    assert [run.name.split("/")[0] for run in read_stored_study(stored)] == ["gan"] * 3 + ["vae"]
    pictures = {"gan.png", "vae.png", "samples-gan.png", "samples-vae.png", "walks-gan.gif"}
    assert {path.name for path in stored.iterdir() if path.suffix in (".png", ".gif")} == pictures
    with Image.open(stored / "walks-gan.gif") as walks:
        assert walks.n_frames > 20
        assert walks.size == (2 * 108, 24 + 4 * 108)  # walks of 16 + 2 pixels, times 6
    text = (docs / "generative.md").read_text()
    assert "results/generative/samples-vae.png" in text
    assert "walks-vae" not in text  # there is one model only
    assert "coordconv-g, n images 64, canvas 16, channels 2 | fair | quick | - | 50.0% |" in text

    before = {path.name: path.read_bytes() for path in stored.iterdir()}
    (stored / "vae.png").unlink()
    (stored / "samples-gan.png").write_bytes(b"is stored")
    assert main("generative", "--docs", docs) == 0
    after = {path.name: path.read_bytes() for path in stored.iterdir()}
    assert after == before | {"samples-gan.png": b"is stored"}


def test_walks_show_the_weights_of_the_first_seed_without_coordinates_on_the_left(tmp_path):
    for model, output in {"conv": 9.0, "coordconv": -9.0}.items():  # white and black after tanh
        for seed in (1, 0):
            run = write_run(tmp_path, "gan", model=model, seed=seed, weights=True)
            state = {name: x.zero_() for name, x in load_tensors(run.final_weights).items()}
            *_, last = (name for name in state if name.startswith("generator"))
            state[last] += output if seed == 0 else 0
            save_tensors(run.final_weights, state)
    frames = REPORT.pictures(tmp_path)["walks-gan"]
    tile = frames[:, :, 24 + 54]  # the middle of the first walk
    assert (tile[..., 54] > 0.99).all()
    assert (tile[..., 108 + 54] < 0.01).all()


def test_each_preset_has_its_own_pictures(tmp_path):
    for model in ("conv", "coordconv"):
        write_run(tmp_path, "vae", model=model, weights=True)
    write_run(tmp_path, "vae", model="conv", preset="paper", weights=True, **SMALL)
    assert set(REPORT.pictures(tmp_path)) == {"samples-vae", "walks-vae", "samples-vae-paper"}


def test_there_are_no_runs_yet(docs, tmp_path, capsys):
    for arguments, sentence in (
        (["generative", "--docs", docs], "name a folder of runs to add."),
        (["generative", tmp_path, "--docs", docs], "There is no finished run in"),
        (["generative", "--docs", tmp_path], "choose another --docs."),
        (["vae", "--docs", docs], "invalid choice: 'vae'"),
    ):
        with pytest.raises(SystemExit) as exit_:
            main(*arguments)
        assert exit_.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert sentence in line


def test_the_pages_in_the_repository_are_up_to_date(tmp_path):
    assert_pages_are_up_to_date(REPORT, tmp_path)
