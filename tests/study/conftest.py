from pathlib import Path

import pytest
from study.runs import N_RUNS, TOY, run_study, write_study


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a study on this machine that was not interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run_study(write_study(folder, {"seed": list(range(N_RUNS))}, TOY))
    return folder / "runs"
