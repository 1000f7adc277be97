"""Training in several processes that ``torchrun`` starts."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes
from torch import nn

from rl_coordconv import experiments
from rl_coordconv.runs import command_line, distributed, ranks
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.console import saving
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run, run_experiment

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


def torchrun(*words: object, stop: str = "never") -> subprocess.CompletedProcess[str]:
    """Start two processes and return what they printed."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, *map(str, words)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, TESTS))), "STOP": stop},
        capture_output=True,
        text=True,
    )


def weights(config) -> dict[str, torch.Tensor]:
    return torch.load(Run(config.folder).final_weights, weights_only=True)


def rows(config) -> list[dict[str, str]]:
    with Run(config.folder).progress.open() as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def files(config) -> set[str]:
    """Return the names of the run's files, without the start time and host of event files."""
    return {path.name.split("tfevents")[0] for path in config.folder.rglob("*")}


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder and the output of the trainings of `two_processes.check`."""
    folder = tmp_path_factory.mktemp("checked")
    return folder, torchrun(two_processes.__file__, "check", folder)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_write_as_one_does(checked, tmp_path):
    folder, result = checked
    for rank in (0, 1):
        assert f"Rank {rank} is right." in result.stdout, result.stderr
    assert result.stdout.count("watch") == 3  # one table of settings for each training
    assert result.stdout.count("is already finished") == 1
    assert result.stderr.count("The training diverged: ") == 1
    assert "Another process ended" not in result.stderr
    assert "exitcode  : 2" in result.stderr  # in torchrun's own report
    two = two_processes.make_config(folder, "linear")
    one = two_processes.make_config(tmp_path, "linear")
    run_experiment(two_processes.train, one)
    torch.testing.assert_close(weights(two), weights(one))
    for own, expected in zip(rows(two), rows(one), strict=True):
        own, expected = ({k: float(x or 0) for k, x in row.items()} for row in (own, expected))
        assert own == pytest.approx(expected, rel=1e-4)
    assert files(two) == files(one)
    assert len(list(two.folder.glob("events*"))) == 1


@pytest.mark.slow
def test_a_stopped_training_of_two_processes_equals_an_uninterrupted_one(checked, tmp_path):
    whole = two_processes.make_config(checked[0], "random")
    config = two_processes.make_config(tmp_path, "random")
    run = Run(config.folder)

    def start(stop):
        return torchrun(two_processes.__file__, "train", tmp_path, stop=stop)

    for stop, saved_at in (("1 update 5 SIGTERM", 6), ("0 images 6 SIGINT", 6)):
        stopped = start(stop)
        assert stopped.stdout.count("received: ") == 1
        assert stopped.stdout.count("Stopped and saved in") == 1
        assert "Another process ended" not in stopped.stderr
        assert int(run.saved[0].stem[5:]) == saved_at
    killed = start("1 update 10 SIGKILL")
    assert "resuming     from update 6" in killed.stdout
    assert killed.stderr.count("Another process ended (") == 1
    resumed = start("never")
    assert "resuming     from update 9" in resumed.stdout
    assert resumed.returncode == 0, resumed.stderr
    assert all(torch.equal(weights(config)[name], x) for name, x in weights(whole).items())
    assert rows(config) == rows(whole)


@pytest.mark.slow
def test_an_experiment_of_one_process_refuses_two_in_one_sentence(tmp_path):
    result = torchrun(ROOT / "scripts" / "train_toy.py", "--log-dir", tmp_path / "runs")
    assert result.stderr.count("train-toy trains in one process; start it without torchrun.") == 1
    assert "exitcode  : 2" in result.stderr
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def second_of_two(monkeypatch):
    """The environment of local rank 1 of two processes."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "2")
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize(
    "name", [n for n, e in experiments.EXPERIMENTS.items() if not e.distributed]
)
def test_other_experiments_refuse_several_processes(name, second_of_two, tmp_path):
    config = experiments.make_config(name, log_dir=str(tmp_path))
    with pytest.raises(UserError, match=f"^train-{name} trains in one process; start it without"):
        experiments.train(config)
    assert not list(tmp_path.iterdir())


def test_with_one_process_nothing_is_started_and_arguments_are_returned():
    assert (ranks.world_size(), ranks.rank(), ranks.local_rank()) == (1, 0, 0)
    assert ranks.is_main()
    model, x, state = nn.Linear(1, 1), torch.ones(1), {"x": 1}
    with distributed.connected():
        assert not torch.distributed.is_initialized()
        assert distributed.wrap(model) is model
        assert distributed.total(x) is x
        assert distributed.mean({"x": x}, 3) == ({"x": x}, 3)
        assert distributed.largest(2) == 2
        assert distributed.gathered(x) == [x]
        assert distributed.from_main(x) is x
        assert distributed.state_from_main(state, torch.device("cpu")) is state
        distributed.buffers_from_main(model)
        distributed.barrier()


def test_each_process_uses_its_own_gpu(second_of_two, monkeypatch):
    used = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert use_device("auto", 0) == torch.device("cuda:1")
    assert used == [torch.device("cuda:1")]
    with pytest.raises(UserError, match=r"cannot use --device cuda:0; choose cuda or cpu\.$"):
        use_device("cuda:0", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="^There are 2 processes for 1 GPUs .* --nproc-per-node 1,"):
        use_device("cuda", 0)


@pytest.mark.parametrize("local_rank", ["0", "1"])
def test_only_an_error_of_its_own_is_printed_by_the_second_process(
    local_rank, second_of_two, monkeypatch, capsys
):
    """If the first process has the same error, torchrun ends the second one while it waits."""
    waited = []
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr(command_line.time, "sleep", waited.append)
    with pytest.raises(SystemExit), command_line.one_sentence_errors():
        raise UserError("A sentence.")
    assert len(waited) == int(local_rank)
    assert capsys.readouterr().err == "A sentence.\n"


@pytest.mark.parametrize("is_of_gloo", [True, False])
def test_the_end_of_another_process_is_one_sentence(is_of_gloo, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    text = "[/gloo/pair.cc:1] Connection closed by peer. Advice." if is_of_gloo else "A bug."
    expected = pytest.raises(SystemExit if is_of_gloo else RuntimeError)
    with expected, command_line.one_sentence_errors():
        raise RuntimeError(text)
    sentence = (
        "Another process ended ([/gloo/pair.cc:1] Connection closed by peer)."
        " Run the same command again to resume.\n"
    )
    assert capsys.readouterr().err == (sentence if is_of_gloo else "")


def test_variables_that_torchrun_did_not_set_do_not_matter(second_of_two, monkeypatch):
    """Some clusters set them for other purposes."""
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    monkeypatch.setenv("RANK", "gold")
    assert (ranks.rank(), ranks.world_size()) == (0, 1)


def test_torchrun_does_not_forward_a_second_ctrl_c(second_of_two, tmp_path):
    assert saving(Run(tmp_path)) == f"finishing this update, then saving in {tmp_path}."
