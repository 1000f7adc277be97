import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import rl_coordconv
import rl_coordconv.envs

ROOT = Path(__file__).parents[1]


def test_the_public_names():
    assert rl_coordconv.__all__ == [
        "EXTRACTORS",
        "CoordCombinedExtractor",
        "CoordConv1d",
        "CoordConv2d",
        "CoordConv3d",
        "CoordConvTranspose2d",
        "CoordImpalaCNN",
        "CoordNatureCNN",
        "CoordinateCallback",
        "add_coords",
        "convert",
        "coordinate_channels",
        "policy_kwargs",
    ]
    assert all(hasattr(rl_coordconv, name) for name in rl_coordconv.__all__)


def imported(statement: str) -> set[str]:
    """Return the modules that a statement imports in a new process."""
    code = f"{statement}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


HEAVY = {"ale_py", "gymnasium", "pydantic", "ray", "stable_baselines3", "torchvision", "yaml"}


def test_importing_the_package_does_not_import_torch():
    assert not (HEAVY | {"torch"}) & imported("import rl_coordconv")


def test_layers_and_networks_import_torch_only():
    loaded = imported(
        "from rl_coordconv import CoordConv2d, add_coords, convert, coordinate_channels;"
        "import rl_coordconv.convert, rl_coordconv.coordconv, rl_coordconv.networks"
    )
    assert {"torch", "rl_coordconv.networks"} <= loaded
    assert not HEAVY & loaded


def test_extractors_import_neither_runs_nor_emulators():
    loaded = imported("from rl_coordconv import policy_kwargs; policy_kwargs('coordconv')")
    assert "stable_baselines3" in loaded
    assert not {"ale_py", "pydantic", "ray", "rl_coordconv.runs", "torchvision"} & loaded


def test_the_public_names_of_the_environments():
    assert rl_coordconv.envs.__all__ == ["AtariVecEnv", "make_atari_env"]
    assert all(hasattr(rl_coordconv.envs, name) for name in rl_coordconv.envs.__all__)


def test_reading_runs_does_not_import_torch():
    loaded = imported("import rl_coordconv.compare.report")
    assert "rl_coordconv.compare.results" in loaded
    assert not {"torch", "stable_baselines3", "tensorflow"} & loaded


def test_training_on_atari_does_not_import_plotting_libraries():
    loaded = imported("import rl_coordconv.experiments.atari.train")
    assert "ale_py" in loaded
    assert not {"matplotlib", "pandas", "scipy", "torch._dynamo"} & loaded


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'CoordConv4d'"):
        _ = rl_coordconv.CoordConv4d


def test_the_readme_names_every_extractor():
    table = (ROOT / "README.md").read_text().partition("| extractor |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z-]+)`", table)) == rl_coordconv.EXTRACTORS.keys()


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == rl_coordconv.__version__
    (paper,) = citation["references"]
    assert "1807.03247" in paper["url"]
    assert [author["family-names"] for author in paper["authors"]][::6] == ["Liu", "Yosinski"]
