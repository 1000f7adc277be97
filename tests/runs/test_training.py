"""The supervised training loop, with learners similar to those of experiments."""

import csv
import shutil
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import pytest
import torch
import yaml
from matplotlib.figure import Figure
from tiny import BASE
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rl_coordconv.runs.config import TrainingConfig, UserError
from rl_coordconv.runs.files import last_rows
from rl_coordconv.runs.folder import Run, open_run, record_start, run_experiment
from rl_coordconv.runs.signals import Stopped
from rl_coordconv.runs.training import fit

BATCH, SAMPLES = 4, 10  # two whole batches and a smaller one


class TinyConfig(TrainingConfig):
    experiment: Literal["tiny"] = "tiny"

    @property
    def folder(self) -> Path:
        return Path(self.log_dir, "tiny", "task", "variant", f"seed-{self.seed}")

    @property
    def score(self) -> str:
        return "test/error"


@pytest.fixture
def config(tmp_path) -> TinyConfig:
    settings = BASE | {"save_freq": 2, "eval_freq": 1, "n_epochs": 3}
    return TinyConfig(**settings, log_dir=str(tmp_path))


class Regression:
    """A learner with one network, one loss and samples from a DataLoader."""

    updates_per_epoch = 3

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        x = torch.rand(SAMPLES, 2)
        self.samples = TensorDataset(x, x.sum(dim=1, keepdim=True))
        self.batches = iter(())
        self.updates = []

    def _batch(self, number):
        epoch, position = divmod(number, self.updates_per_epoch)
        if position == 0 or not self.updates:
            order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
            rest = order.tolist()[position * BATCH :]
            # A separate generator, because a new iterator draws a number, also on resuming.
            loader = DataLoader(self.samples, BATCH, sampler=rest, generator=torch.Generator())
            self.batches = iter(loader)
        return next(self.batches)

    def update(self, number):
        x, y = self._batch(number)
        self.updates.append(number)
        self.model.train()
        loss = (self.model(x) - y).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}, len(x)

    def evaluate(self, updates):
        self.model.eval()
        x, y = self.samples.tensors
        return {"test/error": (self.model(x) - y).abs().mean().item()}

    def images(self):
        return {"progress": torch.full((3, 4, 4), len(self.updates) / 9)}

    def figures(self):
        figure = Figure()
        figure.subplots().plot([0, 1])
        return {
            "curve": figure,
            "moving": torch.linspace(0, 1, 3).view(3, 1, 1, 1).expand(3, 3, 4, 4),
        }

    def state(self):
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


class Adversaries(Regression):
    """A learner with two networks, optimisers and losses, and random numbers in every update."""

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({"generator": nn.Linear(2, 2), "critic": nn.Linear(2, 1)})
        self.optimizers = [torch.optim.Adam(m.parameters()) for m in self.model.values()]

    def update(self, number):
        generator, critic = self.model.values()
        losses = {}
        for name, optimizer, sign in zip(("g", "d"), self.optimizers, (1, -1), strict=True):
            loss = sign * critic(generator(torch.rand(BATCH, 2))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[f"{name}_loss"] = loss.detach()
        return losses, BATCH

    def evaluate(self, updates):
        return {"test/error": self.model["critic"].bias.item()}

    def state(self):
        return {"model": self.model.state_dict()} | {
            f"optimizer {i}": optimizer.state_dict() for i, optimizer in enumerate(self.optimizers)
        }

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        for i, optimizer in enumerate(self.optimizers):
            optimizer.load_state_dict(state[f"optimizer {i}"])


def train_as(learner):
    return lambda config, run: fit(learner, config, run)


def rows(config) -> list[dict[str, str]]:
    with Run(config.folder).progress.open() as file:
        return list(csv.DictReader(file))


def stopping_after(learner, number):
    """Return the learner, which now sends SIGINT to the process in the middle of an update."""
    update = learner.update

    def interrupted(at):
        if at == number:
            signal.raise_signal(signal.SIGINT)
        return update(at)

    learner.update = interrupted
    return learner


def test_a_run_logs_a_row_per_evaluation_and_saves_weights_and_figures(config):
    learner = Regression()
    assert run_experiment(train_as(learner), config) == 0
    assert learner.updates == list(range(9))
    logged = rows(config)
    assert list(logged[0])[:3] == ["step", "seconds", "updates"]
    assert [(row["step"], row["updates"]) for row in logged] == [
        ("0", "0"),
        ("1", "3"),
        ("2", "6"),
        ("3", "9"),
    ]
    assert logged[0]["train/loss"] == ""
    assert float(logged[3]["test/error"]) == learner.evaluate(9)["test/error"]
    seconds = [float(row["seconds"]) for row in logged]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)
    run = Run(config.folder)
    weights = torch.load(run.final_weights, weights_only=True)
    assert torch.equal(weights["0.weight"], learner.model[0].weight)
    assert (run.figures / "curve.png").stat().st_size > 1000
    assert run.is_finished


def test_losses_are_means_over_the_epochs_samples(config):
    class Constant(Regression):
        def update(self, number):
            batch_size = (4, 4, 2)[number % 3]
            return {"loss": torch.tensor(float(number % 3))}, batch_size

    run_experiment(train_as(Constant()), config)
    assert [float(row["train/loss"]) for row in rows(config)[1:]] == pytest.approx([0.8] * 3)


def test_evaluates_and_saves_when_due_and_at_the_end(config):
    sparse = config.model_copy(update={"eval_freq": 2, "save_freq": 5})
    run_experiment(train_as(Regression()), sparse)
    assert [row["step"] for row in rows(sparse)] == ["0", "2", "3"]
    names = [path.name for path in Run(sparse.folder).checkpoints.iterdir()]
    assert sorted(names) == ["step-0000000006.pt", "step-0000000009.pt"]


@pytest.mark.parametrize("learner", [Regression, Adversaries])
@pytest.mark.parametrize("number", [0, 4, 5, 8])
def test_a_resumed_run_equals_an_uninterrupted_one(config, learner, number):
    whole = config.model_copy(update={"log_dir": f"{config.log_dir}/whole"})
    assert run_experiment(train_as(learner()), whole) == 0
    first = stopping_after(learner(), number)
    assert run_experiment(train_as(first), config) == 128 + signal.SIGINT
    torch.rand(7)  # another process has other random numbers
    assert run_experiment(train_as(learner()), config) == 0
    weights = [torch.load(Run(c.folder).final_weights, weights_only=True) for c in (whole, config)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    logs = [[{**row, "seconds": ""} for row in rows(c)] for c in (whole, config)]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("number", [0, 3, 9])
def test_a_signal_interrupts_an_evaluation_which_a_resumed_run_repeats(config, number, second):
    """Regression: it ran to its end, and a second Ctrl-C lost the epochs since the last save."""

    class Sampled(Regression):
        def evaluate(self, updates):
            return {**super().evaluate(updates), "test/sample": torch.rand(()).item()}

    class Interrupted(Sampled):
        def evaluate(self, updates):
            if updates == number:
                torch.rand(1)
                for _ in range(1 + second):
                    try:
                        signal.raise_signal(signal.SIGINT)
                    except Stopped:
                        if not second:
                            raise
            return super().evaluate(updates)

    config = config.model_copy(update={"save_freq": 100})
    whole = config.model_copy(update={"log_dir": f"{config.log_dir}/whole"})
    run_experiment(train_as(Sampled()), whole)
    with pytest.raises(KeyboardInterrupt) if second else nullcontext():
        assert run_experiment(train_as(Interrupted()), config) == 128 + signal.SIGINT
    assert int(Run(config.folder).saved[0].stem[5:]) == number
    learner = Sampled()
    run_experiment(train_as(learner), config)
    assert learner.updates == list(range(number, 9))
    logs = [[{**row, "seconds": ""} for row in rows(c)] for c in (whole, config)]
    assert logs[0] == logs[1]


def test_a_signal_before_an_evaluation_defers_it_to_the_resumed_run(config):
    learner = stopping_after(Regression(), 8)
    evaluated = []
    learner.evaluate = lambda updates: evaluated.append(updates) or {"test/error": 0.0}
    assert run_experiment(train_as(learner), config) == 128 + signal.SIGINT
    assert evaluated == [0, 3, 6]


def test_prints_where_it_resumes(config, capsys):
    run_experiment(train_as(stopping_after(Regression(), 3)), config)
    out = capsys.readouterr().out
    assert "parameters" in out
    assert "Run the same command again to resume" in out
    run_experiment(train_as(Regression()), config)
    assert "from update 4" in capsys.readouterr().out


class TestSettingsOfCheckpoints:
    """A checkpoint is resumed only with the settings that it was saved with."""

    @pytest.fixture
    def stopped(self, config) -> Run:
        run_experiment(train_as(stopping_after(Regression(), 4)), config)
        return Run(config.folder)

    def refuses(self, config, sentence):
        folder = Run(config.folder).folder
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match=sentence):
            run_experiment(train_as(Regression()), config)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before

    @pytest.mark.parametrize("is_edited", [False, True])
    def test_are_compared_without_config_or_with_an_edited_one(self, config, stopped, is_edited):
        changed = config.model_copy(update={"n_epochs": 2})
        if is_edited:
            stopped.config.write_text(yaml.safe_dump(changed.model_dump()))
        else:
            stopped.config.unlink()
        self.refuses(changed, r"n_epochs was 3, now 2")

    def test_restore_a_lost_config(self, config, stopped, capsys):
        stopped.config.unlink()
        assert run_experiment(train_as(Regression()), config) == 0
        assert "from update 5" in capsys.readouterr().out
        assert yaml.safe_load(stopped.config.read_text()) == config.model_dump()

    def test_reveal_a_checkpoint_of_another_run(self, config, stopped):
        other = config.model_copy(update={"seed": 1})
        run_experiment(train_as(stopping_after(Regression(), 1)), other)
        shutil.copy(stopped.saved[0], Run(other.folder).checkpoints)
        self.refuses(other, r"seed was 0, now 1")

    @pytest.mark.parametrize("damage", ["", "PK"])
    def test_are_those_of_the_newest_that_is_not_damaged(self, config, stopped, damage):
        stopped.config.unlink()
        stopped.saved[0].write_text(damage)
        self.refuses(config.model_copy(update={"n_epochs": 2}), "n_epochs was 3, now 2")

    def test_of_an_older_version_are_unknown_without_a_config(self, config, stopped):
        stopped.config.unlink()
        for path in stopped.saved:
            torch.save({}, path)
        self.refuses(config, r"config\.yaml is missing; restore it or start over with")

    def test_of_a_finished_run_are_compared_too(self, config):
        run_experiment(train_as(Regression()), config)
        Run(config.folder).config.unlink()
        self.refuses(config.model_copy(update={"n_epochs": 2}), "n_epochs was 3, now 2")
        shutil.rmtree(Run(config.folder).checkpoints)
        self.refuses(config, r"config\.yaml is missing")


class TestExtending:
    """The same command with more epochs continues a finished run."""

    @pytest.mark.parametrize("is_finished", [True, False])
    def test_equals_a_longer_run(self, config, tmp_path, is_finished):
        longer = config.model_copy(update={"n_epochs": 5})
        first = Regression() if is_finished else stopping_after(Regression(), 4)
        run_experiment(train_as(first), config)
        assert run_experiment(train_as(Regression()), longer) == 0
        whole = longer.model_copy(update={"log_dir": str(tmp_path / "whole")})
        run_experiment(train_as(Regression()), whole)
        weights, expected = (
            torch.load(Run(c.folder).final_weights, weights_only=True) for c in (longer, whole)
        )
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        rows, expected = (last_rows(Run(c.folder).progress) for c in (longer, whole))
        assert [row | {"seconds": ""} for row in rows] == [
            row | {"seconds": ""} for row in expected
        ]
        assert Run(longer.folder, longer).is_finished

    def test_says_so(self, config, capsys):
        run_experiment(train_as(Regression()), config)
        assert "Extending" not in capsys.readouterr().out
        run_experiment(train_as(Regression()), config)
        assert "Use a larger --n-epochs to extend it" in capsys.readouterr().out
        run_experiment(train_as(Regression()), config.model_copy(update={"n_epochs": 5}))
        assert "Extending the run from 3 to 5 epochs.\n" in capsys.readouterr().out

    def test_needs_the_checkpoints(self, config):
        run_experiment(train_as(Regression()), config)
        shutil.rmtree(Run(config.folder).checkpoints)
        with pytest.raises(UserError, match="checkpoints .* are missing"):
            run_experiment(train_as(Regression()), config.model_copy(update={"n_epochs": 5}))

    def test_can_be_interrupted(self, config):
        longer = config.model_copy(update={"n_epochs": 9})
        run_experiment(train_as(Regression()), config)
        run_experiment(train_as(stopping_after(Regression(), 12)), longer)
        run = Run(config.folder)
        assert not run.is_finished
        assert not run.final_weights.exists()
        with pytest.raises(UserError, match=r"n_epochs was 9, now 3"):
            run_experiment(train_as(Regression()), config)


def test_a_checkpoint_of_an_older_version_is_a_one_sentence_error(config):
    with open_run(config.folder, config) as run:
        record_start(run, device="cpu")
        torch.save({"updates": 3, "model": {}}, run.checkpoints / "step-0000000003.pt")
    with pytest.raises(UserError, match="are of an older version; start over with --overwrite"):
        run_experiment(train_as(Regression()), config)
