"""The learner of the toy tasks: a network, its optimiser, and the samples."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import PARTS, Samples
from rl_coordconv.experiments.not_so_clevr.figures import make_figures
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.checkpoint import State
from rl_coordconv.speedups.optimizers import LightAdam

_BETAS = (0.9, 0.99)  # the authors'; torch's second is 0.999
_PREDICTED_AT_ONCE = 64


class ToyLearner:
    """A `Learner` for `fit`, whose epochs are shuffled by the seed and the epoch's number.

    Args:
        config: The settings; their seed initialises the weights.
        training: The samples to learn from, on the device to learn on.
        test: The samples to test on.
    """

    def __init__(self, config: ToyConfig, training: Samples, test: Samples) -> None:
        self._config = config
        self._parts = (training, test)
        self._task = TASKS[config.task]
        self._inputs = self._task.inputs[config.inputs](training)
        self._targets = self._task.targets(training)
        self._loss = self._task.losses[config.loss]
        torch.manual_seed(config.seed)
        self.model: nn.Module = make_model(config.task, config.model, config.shape)
        self.model.to(training.xy.device)
        # On a CPU, stacks of convolutions are a sixth to a third faster so.
        self.model.to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(self.model, config.l2)
        self.updates_per_epoch = -(-len(training) // config.batch_size)
        """The last batch of an epoch may be smaller."""
        self._order = torch.empty(0)

    def learning_rate(self, number: int) -> float:
        """Return Adam's step size for an update."""
        share = {
            "constant": 1.0,
            "step": 0.1 ** min(number // self.updates_per_epoch // 200, 4),
            "linear": 1 - number / (self._config.n_epochs * self.updates_per_epoch),
        }
        return self._config.learning_rate * share[self._config.learning_rate_schedule]

    def update(self, number: int) -> tuple[dict[str, Tensor], int]:
        """Learn from one batch; see `Learner`."""
        epoch, position = divmod(number, self.updates_per_epoch)
        if position == 0 or not len(self._order):
            self._order = self._shuffle(epoch)
        first = position * self._config.batch_size
        batch = self._order[first : first + self._config.batch_size]
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate(number)
        self.model.train()
        self._optimizer.zero_grad()
        loss = self._loss(self.model(self._inputs[batch]), self._targets[batch])
        loss.backward()
        self._optimizer.step()
        return {"loss": loss.detach()}, len(batch)

    @torch.no_grad()
    def predict(self, samples: Samples) -> Tensor:
        """Return the network's output for samples, ``[N, ...]`` (see `models`), in eval mode."""
        self.model.eval()
        inputs = self._task.inputs[self._config.inputs](samples)
        return torch.cat([self.model(part) for part in inputs.split(_PREDICTED_AT_ONCE)])

    def evaluate(self, updates: int) -> dict[str, float]:
        """Return the metrics over the training and the test samples."""
        metrics = {"train/learning_rate": self.learning_rate(updates)}
        for part, samples in zip(PARTS, self._parts, strict=True):
            outputs = self.predict(samples)
            for name, metric in self._task.metrics.items():
                metrics[f"{part}/{name}"] = metric(outputs, samples)
        return metrics

    def figures(self) -> dict[str, Figure]:
        """Draw the predictions for the training and the test samples."""
        outputs = [self.predict(samples) for samples in self._parts]
        return make_figures(self._config.task, self._parts, outputs)

    def state(self) -> State:
        """Return what another learner needs to resume from here."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Resume from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._order = torch.empty(0)  # drawn again at the next update

    def _shuffle(self, epoch: int) -> Tensor:
        """Return the order of an epoch's samples."""
        cpu = torch.device("cpu")
        generator = torch.Generator(cpu).manual_seed(self._config.seed * 2**32 + epoch)
        order = torch.randperm(len(self._inputs), generator=generator, device=cpu)
        return order.to(self._inputs.device)


def make_optimizer(model: nn.Module, l2: float) -> LightAdam:
    """Return Adam with the authors' decay: ``l2`` times the sum of squares of the kernels.

    The decay's gradient is ``2 * l2`` times the kernel; biases, BatchNorm and dense layers have no
    decay.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, convolutions)]
    of_kernels = {id(kernel) for kernel in kernels}
    others = [p for p in model.parameters() if id(p) not in of_kernels]
    groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * l2}, {"params": others}]
    return LightAdam(groups, betas=_BETAS)
