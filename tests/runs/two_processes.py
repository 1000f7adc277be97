"""Trainings in several processes; ``torchrun`` starts this file.

Its arguments are ``check LOG_DIR``, or ``train LOG_DIR`` for a training that may be stopped. The
environment variable STOP names the rank that stops it, the place and the signal, such as
``1 update 5 SIGTERM``.
"""

import os
import signal
import sys
import time
from copy import deepcopy
from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import Field
from tiny import BASE
from torch import nn

from rl_coordconv.runs import distributed
from rl_coordconv.runs.command_line import one_sentence_errors
from rl_coordconv.runs.config import TrainingConfig, UserError
from rl_coordconv.runs.folder import lock
from rl_coordconv.runs.ranks import rank, world_size
from rl_coordconv.runs.together import run_together
from rl_coordconv.runs.training import fit

BATCH, SAMPLES = 4, 12


class LineConfig(TrainingConfig):
    experiment: Literal["line"] = "line"
    network: Literal["linear", "random"] = Field(description="with or without random numbers")

    @property
    def folder(self) -> Path:
        return Path(self.log_dir, "line", "task", self.network, f"seed-{self.seed}")

    @property
    def score(self) -> str:
        return "test/error"


def make_config(log_dir, network, **settings) -> LineConfig:
    settings = {"save_freq": 1, "eval_freq": 2, "n_epochs": 4} | settings
    return LineConfig(**BASE | settings, network=network, log_dir=str(log_dir))


def samples():
    x = torch.rand(SAMPLES, 2, generator=torch.Generator().manual_seed(3))
    return x, x.sum(dim=1, keepdim=True)


class Line:
    """A learner whose ``random`` network has running means and different noise in each process."""

    updates_per_epoch = SAMPLES // BATCH

    def __init__(self, config):
        torch.manual_seed(config.seed)
        layers = [nn.BatchNorm1d(2), nn.Dropout()] if config.network == "random" else []
        self.model = nn.Sequential(*layers, nn.Linear(2, 1))
        self.wrapped = distributed.wrap(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)
        self.x, self.y = samples()

    def share(self, indices):
        return indices[rank() :: world_size()]

    def update(self, number):
        stop_at("update", number)
        first = number % self.updates_per_epoch * BATCH
        own = self.share(range(first, first + BATCH))
        self.model.train()
        loss = (self.wrapped(self.x[own]) - self.y[own]).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}, len(own)

    @torch.no_grad()
    def evaluate(self, updates):
        self.model.eval()
        self.updates = updates
        own = self.share(range(SAMPLES))
        error = distributed.total((self.model(self.x[own]) - self.y[own]).abs().sum())
        return {"test/error": error.item() / SAMPLES}

    def images(self):
        assert rank() == 0
        stop_at("images", self.updates)
        return {}

    def figures(self):
        assert rank() == 0
        return {}

    def state(self):
        assert rank() == 0
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state):
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def stop_at(place, number):
    """Stop the training if this is the place that the environment variable STOP names."""
    *wanted, name = os.environ.get("STOP", "never").split()
    if wanted != [f"{rank()}", place, f"{number}"]:
        return
    if name == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if place == "images":
        time.sleep(0.5)  # for rank 1 to reach the next update, in which it waits for rank 0
    handler = signal.getsignal(signal.SIGINT)
    os.kill(os.getppid(), signal.Signals[name])  # torchrun forwards it to all processes
    while signal.getsignal(signal.SIGINT) is handler:  # which `StopSignals` resets
        time.sleep(0.01)


def train(config, run, callbacks=()):
    fit(Line(config), config, run, callbacks)


def check(log_dir):
    """Check everything that needs no start of its own; the last training diverges in rank 0."""
    check_communication()
    check_gradients()
    for network in ("linear", "random"):
        called = []
        config = make_config(log_dir, network)
        code = run_together(
            lambda config, run, called=called: train(config, run, [lambda *_: called.append(1)]),
            config,
        )
        assert code == 0
        assert len(called) == (3 if rank() == 0 else 0)
    assert run_together(train, config) == 0  # it is finished
    if rank() == 0:
        with lock(config.folder):
            refused(config, "is in use by another process")
    else:
        refused(config, "is in use by another process")
    refused(make_config(log_dir, "linear", n_epochs=1), "n_epochs was 4, now 1")
    print(f"Rank {rank()} is right.", flush=True)
    run_together(diverge, make_config(log_dir, "linear", seed=1))


def refused(config, reason):
    with pytest.raises(UserError, match=reason):
        run_together(train, config)


def diverge(config, run):
    learner = Line(config)
    if rank() == 0:
        learner.model[0].bias.data.fill_(torch.nan)
    fit(learner, config, run)


def check_communication():
    assert world_size() == 2
    mine = 10.0 ** rank()  # 1 and 10
    assert distributed.total(torch.tensor([mine, 2])).tolist() == [11, 4]
    losses, n_samples = distributed.mean({"a": torch.tensor(mine)}, 1 + 2 * rank())
    assert (losses["a"].item(), n_samples) == ((1 * 1 + 10 * 3) / 4, 4)
    assert distributed.largest(rank()) == 1
    assert distributed.gathered(rank()) == [0, 1]
    assert distributed.from_main(rank()) == 0
    state = {"x": torch.tensor(mine), "n": rank()} if rank() == 0 else None
    assert distributed.state_from_main(state, torch.device("cpu")) == {"x": 1, "n": 0}
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(mine)
    distributed.buffers_from_main(norm)
    assert norm.running_mean.item() == 1


def check_gradients():
    """Compare gradients of shares of a batch with those of the whole batch."""
    torch.manual_seed(rank())  # `wrap` copies rank 0's weights
    model = nn.Linear(2, 1)
    wrapped = distributed.wrap(model)
    whole = deepcopy(model)
    x, y = samples()
    (wrapped(x[rank() :: 2]) - y[rank() :: 2]).square().mean().backward()
    (whole(x) - y).square().mean().backward()
    for parameter, expected in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, expected.grad)


if __name__ == "__main__":
    action, log_dir = sys.argv[1:]
    with one_sentence_errors(), distributed.connected():
        if action == "check":
            check(log_dir)
        sys.exit(run_together(train, make_config(log_dir, "random")))
