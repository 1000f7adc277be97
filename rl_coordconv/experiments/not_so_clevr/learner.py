"""A network of the toy tasks, its optimiser, and how far they have come."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import Samples
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.checkpoint import State

_BETAS = (0.9, 0.99)  # the authors'; torch's second is 0.999
_PREDICTED_AT_ONCE = 64


class Learner:
    """Learns from one batch at a time.

    What it does next depends on nothing but the config and `state`: the order of an epoch's samples
    is drawn from the seed and the epoch's number.

    Args:
        config: The settings; their seed draws the first weights.
        samples: What to learn from, on the device to learn on.
    """

    def __init__(self, config: ToyConfig, samples: Samples) -> None:
        self._config = config
        self._task = TASKS[config.task]
        self._inputs = self._task.inputs[config.inputs](samples)
        self._targets = self._task.targets(samples)
        self._loss = self._task.losses[config.loss]
        torch.manual_seed(config.seed)
        device = samples.xy.device
        self.model = make_model(config.task, config.model, config.shape).to(device)
        # On a CPU, stacks of convolutions are a sixth to a third faster so.
        self.model.to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(self.model, config.l2)
        self.epoch_length = -(-len(samples) // config.batch_size)
        """Updates per epoch; the last batch may be a smaller one."""
        self.updates = 0
        self.seconds = 0.0
        """Spent on updates, not on predictions."""
        self.loss = torch.zeros((), device=device)
        """Mean over the epoch's samples so far."""

    @property
    def n_parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def epoch(self) -> int:
        """How many passes over the samples are complete."""
        return self.updates // self.epoch_length

    @property
    def is_between_epochs(self) -> bool:
        """Whether the last update completed a pass."""
        return self.updates % self.epoch_length == 0

    @property
    def learning_rate(self) -> float:
        """Adam's step size for the next update."""
        done = self.updates / (self._config.n_epochs * self.epoch_length)
        share = {
            "constant": 1.0,
            "step": 0.1 ** min(self.epoch // 200, 4),
            "linear": 1 - done,
        }
        return self._config.learning_rate * share[self._config.learning_rate_schedule]

    def update(self) -> None:
        """Learn from the next batch."""
        started = time.perf_counter()
        if self.is_between_epochs:
            self._order = self._shuffle()
            self.loss = torch.zeros_like(self.loss)
        first = self.updates % self.epoch_length * self._config.batch_size
        batch = self._order[first : first + self._config.batch_size]
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        self.model.train()
        self._optimizer.zero_grad()
        loss = self._loss(self.model(self._inputs[batch]), self._targets[batch])
        loss.backward()
        self._optimizer.step()
        self.loss += loss.detach() * (len(batch) / len(self._inputs))
        self.updates += 1
        if self.is_between_epochs and self.loss.is_cuda:
            torch.cuda.synchronize(self.loss.device)  # the GPU's time is counted too
        self.seconds += time.perf_counter() - started

    @torch.no_grad()
    def predict(self, samples: Samples) -> Tensor:
        """The network's output for samples, ``[N, ...]`` (see `models`), in evaluation mode."""
        self.model.eval()
        inputs = self._task.inputs[self._config.inputs](samples)
        return torch.cat([self.model(part) for part in inputs.split(_PREDICTED_AT_ONCE)])

    def state(self) -> State:
        """All that another learner needs to go on from here."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "updates": self.updates,
            "seconds": self.seconds,
            "loss": self.loss,
        }

    def restore(self, state: State) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.updates, self.seconds, self.loss = state["updates"], state["seconds"], state["loss"]
        self._order = self._shuffle()

    def _shuffle(self) -> Tensor:
        """The order of this epoch's samples."""
        generator = torch.Generator().manual_seed(self._config.seed * 2**32 + self.epoch)
        return torch.randperm(len(self._inputs), generator=generator).to(self._inputs.device)


def make_optimizer(model: nn.Module, l2: float) -> torch.optim.Adam:
    """Adam with the authors' decay: ``l2`` times the sum of squares of the kernels is in the loss.

    Its gradient is ``2 * l2`` times the kernel. Biases, BatchNorm and dense layers have none.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, convolutions)]
    of_kernels = {id(kernel) for kernel in kernels}
    others = [p for p in model.parameters() if id(p) not in of_kernels]
    groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * l2}, {"params": others}]
    return torch.optim.Adam(groups, betas=_BETAS, fused=True)
