"""The learner of a classifier: batches, updates, evaluation and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim import SGD

from rl_coordconv.experiments.image_classification.config import ClassificationConfig
from rl_coordconv.experiments.image_classification.datasets import Splits
from rl_coordconv.experiments.image_classification.figures import (
    Mistakes,
    draw_front,
    draw_shifts,
)
from rl_coordconv.experiments.image_classification.loader import (
    Batch,
    evaluation_batches,
    training_batches,
    updates_per_epoch,
)
from rl_coordconv.experiments.image_classification.models import (
    FrontedClassifier,
    check_size,
    make_classifier,
)
from rl_coordconv.experiments.image_classification.results import SHIFTED, accuracy_by_shift
from rl_coordconv.experiments.image_classification.shifts import (
    shift,
    shifted_copies,
)
from rl_coordconv.experiments.image_classification.transforms import Normalise
from rl_coordconv.runs import distributed
from rl_coordconv.runs.checkpoint import State, derived_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.ranks import rank, world_size

_MOMENTUM = 0.9  # as in torchvision's reference training
# Number of the stream of random shifts; those of `Batches` are the numbers of epochs.
_SHIFTS = 2**20
_COORDINATES = "ijr"
_METRICS = ("val/loss", "val/top1", "val/top5")


class ClassificationLearner:
    """A `Learner` for `fit`, which trains one classifier.

    Args:
        config: The settings; the seed also determines the initial weights.
        splits: The images.
        device: The device to train on.
    """

    def __init__(self, config: ClassificationConfig, splits: Splits, device: torch.device) -> None:
        self.config, self.splits, self.device = config, splits, device
        if config.batch_size % world_size():
            raise UserError(
                f"--batch-size {config.batch_size} must be a multiple of the {world_size()}"
                " processes."
            )
        torch.manual_seed(config.seed)
        n_classes = len(splits.classes)
        network = make_classifier(config.model, config.backbone, n_classes, config.weights)
        check_size(network, config.backbone, config.size)
        self.model = network.to(device).to(memory_format=torch.channels_last)
        self._normalise = Normalise().to(device)
        self._parallel = distributed.wrap(self.model)
        self._optimizer = SGD(
            self.model.parameters(),
            config.learning_rate,
            momentum=_MOMENTUM,
            weight_decay=config.weight_decay,
        )
        self.updates_per_epoch = updates_per_epoch(splits.train, config.batch_size)
        self._batches: Iterator[Batch] | None = None
        self._next = 0  # number of the next batch
        self._validation = evaluation_batches(
            splits.val,
            config.batch_size,
            config.workers,
            rank(),
            world_size(),
            pin_memory=device.type == "cuda",
        )
        self._mistakes = Mistakes(splits.classes)
        self._scores: dict[str, float] = {}  # of the last evaluation

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch; see `Learner`."""
        images, labels = self._place(self._batch(number))
        if self.config.shift:
            images = shift(images, *self._random_shifts(number)[:, : len(images)])
        rate = self.learning_rate(number)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        logits = self._logits(self._parallel, images)
        loss = F.cross_entropy(logits, labels)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        top1 = (logits.argmax(dim=1) == labels).float().mean()
        losses = {"loss": loss.detach(), "top1": top1, "learning_rate": loss.new_tensor(rate)}
        return losses, len(labels)

    def _random_shifts(self, number: int) -> Tensor:
        """Return rows and columns to shift this process's images by, ``[2, B]``."""
        largest = self.config.shift
        seed = derived_seed(self.config.seed, _SHIFTS, number)
        generator = torch.Generator().manual_seed(seed)
        size = 2, self.config.batch_size
        pixels = torch.randint(-largest, largest + 1, size, generator=generator)
        return pixels[:, rank() :: world_size()].to(self.device)

    def learning_rate(self, number: int) -> float:
        """Return the learning rate of an update, constant in each epoch; the first has number 0."""
        epoch, n_epochs = number // self.updates_per_epoch, self.config.n_epochs
        share = {
            "step": 0.1 ** (3 * epoch // n_epochs),
            "cosine": (1 + math.cos(math.pi * epoch / n_epochs)) / 2,
            "constant": 1.0,
        }
        return self.config.learning_rate * share[self.config.learning_rate_schedule]

    def _batch(self, number: int) -> Batch:
        """Return a batch of training images, by the number of its update."""
        if self._batches is None or number != self._next:
            self._batches = training_batches(
                self.splits.train,
                self.config.batch_size,
                self.config.seed,
                number,
                self.config.workers,
                rank(),
                world_size(),
                pin_memory=self.device.type == "cuda",
            )
        self._next = number + 1
        return next(self._batches)

    def _place(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return images and labels on the device."""
        images = self._normalise(batch.images.to(self.device, non_blocking=True))
        labels = batch.labels.to(self.device, non_blocking=True)
        return images.contiguous(memory_format=torch.channels_last), labels

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """Compute logits, float32 ``[B, n_classes]``, in the precision of the settings."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        ):
            logits: Tensor = network(images)
        return logits.float()

    @torch.no_grad()
    def evaluate(self, updates: int) -> dict[str, float]:
        """Return metrics of the validation images; at the end also of shifted ones."""
        is_last = updates == self.config.n_epochs * self.updates_per_epoch
        pixels = self.config.shifts if is_last else []
        names = [*_METRICS, *(f"{SHIFTED}{p}" for p in pixels)]
        sums = torch.zeros(1 + len(names), dtype=torch.float64, device=self.device)
        self.model.eval()
        self._mistakes.clear()
        for batch in self._validation:
            images, labels = self._place(batch)
            logits = self._logits(self.model, images)
            self._mistakes.add(images, logits, labels)
            shifted = [self._shifted_hits(images, labels, p) for p in pixels]
            number = logits.new_tensor(len(labels))
            sums += torch.stack([number, *_sums(logits, labels), *shifted])
        number, *totals = distributed.total(sums).tolist()
        if not number:
            raise UserError(f"No picture of {self.splits.val.name} can be read; check its files.")
        self._scores = {name: x / number for name, x in zip(names, totals, strict=True)}
        return self._scores | self._front_norms()

    def _shifted_hits(self, images: Tensor, labels: Tensor, pixels: int) -> Tensor:
        """Return the number of shifted images that are recognised, averaged over directions."""
        hits = [
            (self._logits(self.model, copies).argmax(dim=1) == labels).sum()
            for copies in shifted_copies(images, pixels)
        ]
        return torch.stack(hits).float().mean()

    def _front_norms(self) -> dict[str, float]:
        """Return the norm of the weights of each coordinate in the layer in front."""
        weights = self._coordinate_weights()
        if weights is None:
            return {}
        norms = weights.norm(dim=0).tolist()
        return {f"front/{name}": norm for name, norm in zip(_COORDINATES, norms, strict=True)}

    def _coordinate_weights(self) -> Tensor | None:
        """Return the weights of coordinates in the layer in front, ``[8, 3]``; None without any."""
        if not isinstance(self.model, FrontedClassifier) or self.config.model != "coordconv":
            return None
        return self.model.front.weight.detach()[:, 3:].flatten(1).float().cpu()

    def images(self) -> dict[str, Tensor]:
        """Return some validation images with a wrong class."""
        return {"val/mistakes": self._mistakes.image()}

    def figures(self) -> dict[str, Figure | Tensor]:
        """Draw the accuracy by shift, wrong images, and the weights of the layer in front.

        They are those of the last evaluation.
        """
        drawn: dict[str, Figure | Tensor] = {"mistakes": self._mistakes.figure()}
        if self.config.shifts:
            drawn["shifts"] = draw_shifts(self.config.model, accuracy_by_shift(self._scores))
        weights = self._coordinate_weights()
        if weights is not None:
            drawn["front"] = draw_front(weights)
        return drawn

    def state(self) -> State:
        """Return the state that a new learner needs to resume."""
        return {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}

    def restore(self, state: State) -> None:
        """Load a state that `state` returned."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def _sums(logits: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the sums of `_METRICS` over images."""
    best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return [loss, best[:, 0].sum().float(), best.sum().float()]
