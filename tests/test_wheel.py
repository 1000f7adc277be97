"""The wheel in an environment and a folder without the checkout."""

import os
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow

Run = Callable[[str], str]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and with the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def run(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A function that runs a command of the installed wheel and returns its output.

    All dependencies come from the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    where = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", vars=where))
    # Only .pth files in a folder of the environment itself are followed, so not the one there of an
    # editable install of the checkout.
    others = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(others))
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    empty = tmp_path_factory.mktemp("empty")
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(command: str) -> str:
        name, *words = shlex.split(command)
        done = subprocess.run(
            [binaries / name, *words], cwd=empty, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_archives_have_what_they_should(dist):
    subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir()], check=True
    )
    (wheel,), (source,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"rl_coordconv/{path.relative_to(folder)}"
        for folder in (ROOT, ROOT / "rl_coordconv")
        for path in folder.rglob("*")
        if path.is_relative_to(ROOT / "configs" if folder == ROOT else folder)
        and path.is_file()
        and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {name.partition("/")[0] for name in names} == {
        "rl_coordconv",
        "rl_coordconv-0.1.0.dist-info",
    }
    with tarfile.open(source) as archive:
        packed = {name.split("/")[1] for name in archive.getnames()}
    files = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    folders = {"configs", "docs", "rl_coordconv", "scripts", "tests"}
    assert packed - {".gitignore"} == files | folders


def test_an_installed_package_trains_evaluates_and_compares(run):
    assert "site-packages" in run("python -c 'import rl_coordconv; print(rl_coordconv.__file__)'")
    few = "--n-envs 2 --total-timesteps 4000 --num-threads 1 --eval-freq 0 --device cpu"
    out = run(f"rl-coordconv train-a2c --extractor coordconv {few}")
    folder = "runs/a2c/MsPacman/coordconv-n_envs-2/seed-0"
    assert f"Done: {folder}" in out
    (evaluate,) = [line for line in out.splitlines() if line.startswith("evaluate ")]
    assert evaluate.split()[1:] == ["rl-coordconv", "evaluate", folder]
    assert "Scores saved" in run(f"rl-coordconv evaluate {folder} --episodes 1 --n-envs 1")
    (compare,) = [line for line in out.splitlines() if line.startswith("compare ")]
    assert "Done: report" in run(compare.removeprefix("compare").strip())
    toy = "--preset quick --n-epochs 1 --canvas 32 --square 21 --num-threads 1 --device cpu"
    assert "--model deconv" in run(f"rl-coordconv train-toy {toy}")


def test_an_included_study_runs_where_it_is_installed(run):
    study = "rl-coordconv study mspacman_a2c --seed 1 --extractor nature,coordconv"
    few = "--n-envs 2 --total-timesteps 200 --num-threads 1 --eval-freq 0 --device cpu"
    first, second = run(f"{study} {few} --dry-run").splitlines()
    assert "Done: " in run(first)
    assert run(f"{study} {few} --backend print") == f"{second}\n"
    out = run(f"{study} {few} --retries 0")
    assert "Both runs are finished." in out
    assert "To compare the runs: rl-coordconv compare runs/studies/a2c/MsPacman" in out
