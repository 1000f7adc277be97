from pathlib import Path

import pytest
from study.runs import SEEDS, TOY, run_study, write_study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a study on this machine that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_study(write_study(folder, {"seed": SEEDS}, TOY))
    return folder / "runs"
