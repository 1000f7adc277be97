"""The learners' base class: batches of images, evaluation and figures."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rl_coordconv.experiments.generative.config import GenerativeConfig
from rl_coordconv.experiments.generative.data import scale
from rl_coordconv.experiments.generative.figures import grid, make_figures, side_by_side
from rl_coordconv.experiments.generative.metrics import nearest_real, sample_metrics
from rl_coordconv.experiments.generative.walks import BATCH_SIZE, pixel_walk, walk, walk_metrics
from rl_coordconv.runs.batches import Batches
from rl_coordconv.runs.capture import Captured
from rl_coordconv.runs.checkpoint import State, derived_seed
from rl_coordconv.runs.config import UserError
from rl_coordconv.speedups.optimizers import LightAdam

OTHER = {"conv": "coordconv", "coordconv": "conv"}
"""The model to compare each of the paper's two models with."""

N_SAMPLES = 1000
"""Number of samples in an evaluation, as in the paper."""

N_WALKS = 64

# Streams of fixed random numbers; see `derived_seed`.
_SAMPLES, WALKS, TEST = 1, 2, 3


class GenerativeLearner(ABC):
    """A `Learner` for `fit`, which trains the networks of one generative model.

    Args:
        config: The settings; the seed also determines the initial weights.
        images: The training images, uint8 ``[N, 3, H, W]``, on the device to train on.
        test: Other images of the same kind, for evaluation.
        find_other_walks: Returns walks of the model in `OTHER`, to be shown beside this model's;
            None if there is no such model, or it is not trained.
    """

    def __init__(
        self,
        config: GenerativeConfig,
        images: Tensor,
        test: Tensor,
        find_other_walks: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        self.find_other_walks = find_other_walks
        self.config, self.device = config, images.device
        self.training, self.test = images, test
        torch.manual_seed(config.seed)
        self.model = nn.ModuleDict(self.make_networks())
        self.model.to(self.device).to(memory_format=torch.channels_last)
        self.optimizers = self.make_optimizers()
        self._batches = Batches(
            len(images), config.batch_size, config.seed, self.device, drop_last=True
        )
        self._checksum = zlib.crc32(images.cpu().numpy().data)
        self.updates_per_epoch = self._batches.per_epoch
        self._step = Captured(self.step)

    @abstractmethod
    def make_networks(self) -> dict[str, nn.Module]:
        """Return the networks by name."""

    @abstractmethod
    def make_optimizers(self) -> dict[str, LightAdam]:
        """Return the optimisers by name."""

    @abstractmethod
    def noise(self, number: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw random numbers ``[number, latent_size]`` from the prior of the latents."""

    @abstractmethod
    def step(self, images: Tensor, noise: Tensor) -> Mapping[str, Tensor]:
        """Train on images in [-1, 1], and return scalars to log."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Compute images in [-1, 1] of latents, in eval mode."""

    @abstractmethod
    def walk_ends(self) -> tuple[Tensor, Tensor]:
        """Return the latents at which walks start and end, ``[W, latent_size]`` each."""

    def optimizer(self, network: nn.Module, learning_rate: float, beta_1: float) -> LightAdam:
        """Return Adam with the authors' second decay rate, 0.99; torch's default is 0.999."""
        on_gpu = self.device.type == "cuda"
        betas = (beta_1, 0.99)
        return LightAdam(network.parameters(), learning_rate, betas, capturable=on_gpu)

    def update(self, number: int) -> tuple[Mapping[str, Tensor], int]:
        """Train on one batch; see `Learner`."""
        images = scale(self.training[self._batches.indices(number)])
        images = images.contiguous(memory_format=torch.channels_last)
        size = len(images)
        return self._step(images, self.noise(size)), size

    @torch.no_grad()
    def samples(self, latents: Tensor) -> Tensor:
        """Compute images in [-1, 1] of any number of latents."""
        with evaluated(self.model):
            return torch.cat([self.decode(part) for part in latents.split(BATCH_SIZE)])

    def fixed_noise(self, number: int, stream: int) -> Tensor:
        """Draw random numbers as `noise` does, the same at every call with the same stream."""
        generator = torch.Generator().manual_seed(derived_seed(self.config.seed, stream))
        return self.noise(number, generator).to(self.device)

    def prior_samples(self, number: int = N_SAMPLES) -> Tensor:
        """Compute samples of the model, the same latents at every call."""
        return self.samples(self.fixed_noise(number, _SAMPLES))

    def walks(self) -> tuple[Tensor, Tensor]:
        """Compute walks between latents, and between the same images in pixel space.

        Returns:
            Frames in [-1, 1], ``[W, F, 3, H, W]``, of both.
        """
        start, end = self.walk_ends()
        frames = walk(self.samples, start, end)
        return frames, pixel_walk(frames[:, 0], frames[:, -1])

    def evaluate(self, updates: int) -> dict[str, float]:
        """Return metrics of samples and walks; of a user's images, only the nearest one's."""
        samples = self.prior_samples()
        if self.config.data:
            return {"samples/nearest_real": nearest_real(samples, self.training)}
        metrics = sample_metrics(samples, self.training)
        named = {f"samples/{name}": value for name, value in metrics.items()}
        for name, frames in zip(("walk", "pixel_walk"), self.walks(), strict=True):
            named |= {f"{name}/{key}": value for key, value in walk_metrics(frames).items()}
        return named

    def images(self) -> dict[str, Tensor]:
        """Return 64 samples in a grid, of the same latents at every evaluation."""
        return {"samples/images": grid(self.prior_samples(64))}

    def figures(self) -> dict[str, Figure | Tensor]:
        """Draw samples, positions and walks."""
        data = scale(self.test)
        walks, pixel_walks = self.walks()
        objects = not self.config.data
        figures = make_figures(self.prior_samples(), data, walks, pixel_walks, objects=objects)
        if (other_walks := self.find_other_walks()) is not None:
            of_both = {self.config.model: walks, OTHER[self.config.model]: other_walks}
            figures["walks_of_both_models"] = side_by_side({name: of_both[name] for name in OTHER})
        return figures

    def state(self) -> State:
        """Return the state that a new learner needs to resume."""
        optimizers = {name: each.state_dict() for name, each in self.optimizers.items()}
        state = {"model": self.model.state_dict(), "optimizers": optimizers}
        return {**state, "checksum": self._checksum}

    def restore(self, state: State) -> None:
        """Load a state that `state` returned.

        Raises:
            UserError: The training images have changed.
        """
        if state["checksum"] != self._checksum:
            raise UserError(
                f"The images in {self.config.data} have changed since the run began; restore them"
                " or start over with --overwrite."
            )
        self.model.load_state_dict(state["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Switch a model to eval mode until the block ends."""
    model.eval()
    try:
        yield
    finally:
        model.train()
