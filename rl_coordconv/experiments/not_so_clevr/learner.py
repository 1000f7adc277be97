"""The learner of the toy tasks: a network, its optimiser and the samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rl_coordconv.experiments.not_so_clevr.config import ToyConfig
from rl_coordconv.experiments.not_so_clevr.data import PARTS, Samples
from rl_coordconv.experiments.not_so_clevr.figures import make_figures
from rl_coordconv.experiments.not_so_clevr.models import make_model
from rl_coordconv.experiments.not_so_clevr.tasks import TASKS
from rl_coordconv.runs.batches import Batches
from rl_coordconv.runs.capture import Captured
from rl_coordconv.runs.checkpoint import State
from rl_coordconv.speedups.optimizers import LightAdam

_BETAS = (0.9, 0.99)  # as in the authors' code; torch's default is (0.9, 0.999)
_PREDICTED_AT_ONCE = 64


class ToyLearner:
    """A `Learner` for `fit`, which trains one network on one task.

    Args:
        config: The settings; the seed also determines the initial weights.
        training: The training samples, on the device to train on.
        test: The test samples, on the same device.
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
        # On a CPU, channels-last makes stacks of convolutions a sixth to a third faster.
        self.model.to(memory_format=torch.channels_last)
        self._optimizer = make_optimizer(self.model, config.l2)
        self._batches = Batches(len(training), config.batch_size, config.seed, training.xy.device)
        self.updates_per_epoch = self._batches.per_epoch
        """Number of updates per epoch; the last batch may be smaller."""
        self._step = Captured(self._descend)

    def learning_rate(self, number: int) -> float:
        """Return the learning rate of an update; the first has number 0."""
        share = {
            "constant": 1.0,
            "step": 0.1 ** min(number // self.updates_per_epoch // 200, 4),
            "linear": 1 - number / (self._config.n_epochs * self.updates_per_epoch),
        }
        return self._config.learning_rate * share[self._config.learning_rate_schedule]

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch; see `Learner`."""
        batch = self._batches.indices(number)
        self._optimizer.set_learning_rate(self.learning_rate(number))
        self.model.train()
        return self._step(self._inputs[batch], self._targets[batch]), len(batch)

    def _descend(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Take one step of gradient descent."""
        loss = self._loss(self.model(inputs), targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return {"loss": loss.detach()}

    @torch.no_grad()
    def predict(self, samples: Samples) -> Tensor:
        """Compute the network's output for samples in eval mode, ``[N, ...]``; see `models`."""
        self.model.eval()
        inputs = self._task.inputs[self._config.inputs](samples)
        return torch.cat([self.model(part) for part in inputs.split(_PREDICTED_AT_ONCE)])

    def evaluate(self, updates: int) -> dict[str, float]:
        """Return the metrics on the training and the test samples."""
        metrics = {"train/learning_rate": self.learning_rate(updates)}
        for part, samples in zip(PARTS, self._parts, strict=True):
            outputs = self.predict(samples)
            for name, metric in self._task.metrics.items():
                metrics[f"{part}/{name}"] = metric(outputs, samples)
        return metrics

    def images(self) -> dict[str, Tensor]:
        """Return no images: the figures show the predictions."""
        return {}

    def figures(self) -> dict[str, Figure]:
        """Draw the predictions for the training and the test samples."""
        outputs = [self.predict(samples) for samples in self._parts]
        return make_figures(self._config.task, self._parts, outputs)

    def state(self) -> State:
        """Return the state that a new learner needs to resume."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Load a state that `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def make_optimizer(model: nn.Module, l2: float) -> LightAdam:
    """Return Adam with the authors' L2 penalty, ``l2`` times the sum of squared kernels.

    The penalty's gradient, ``2 * l2`` times the kernel, is implemented as weight decay. Biases,
    BatchNorm and dense layers have no penalty.
    """
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    kernels = [layer.weight for layer in model.modules() if isinstance(layer, convolutions)]
    of_kernels = {id(kernel) for kernel in kernels}
    others = [p for p in model.parameters() if id(p) not in of_kernels]
    groups: list[dict[str, Any]] = [{"params": kernels, "weight_decay": 2 * l2}, {"params": others}]
    device = kernels[0].device
    if device.type != "cuda":
        return LightAdam(groups, betas=_BETAS)
    # A captured step reads its learning rate from this tensor.
    return LightAdam(groups, torch.tensor(0.001, device=device), _BETAS, capturable=True)
