"""The learner of the VAE."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.experiments.generative.config import VAEConfig
from rl_coordconv.experiments.generative.data import scale
from rl_coordconv.experiments.generative.finder import find_objects
from rl_coordconv.experiments.generative.learner import N_WALKS, TEST, GenerativeLearner, evaluated
from rl_coordconv.experiments.generative.models import make_decoder, make_encoder
from rl_coordconv.experiments.generative.walks import BATCH_SIZE
from rl_coordconv.speedups.optimizers import LightAdam


class VAELearner(GenerativeLearner):
    """A variational autoencoder (Kingma and Welling 2014) with a weighted divergence.

    The likelihood is a Bernoulli distribution per pixel and colour, and the divergence from the
    prior, a standard normal distribution, has the weight beta (Higgins et al. 2017).
    """

    config: VAEConfig

    def make_networks(self) -> dict[str, nn.Module]:
        """Return the encoder and the decoder."""
        shape = self.config.shape
        return {"encoder": make_encoder(shape), "decoder": make_decoder(self.config.model, shape)}

    def make_optimizers(self) -> dict[str, LightAdam]:
        """Return one Adam for both networks."""
        return {"both": self.optimizer(self.model, self.config.learning_rate, beta_1=0.9)}

    def noise(self, number: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents ``[number, latent_size]`` from a standard normal distribution."""
        device = self.device if generator is None else generator.device
        return torch.randn((number, self.config.latent_size), generator=generator, device=device)

    def step(self, images: Tensor, noise: Tensor) -> Mapping[str, Tensor]:
        """Train on images in [-1, 1], and return the loss and its parts, per image."""
        optimizer = self.optimizers["both"]
        losses = self._losses(images, noise)
        optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self, images: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Return the loss and its parts, in nats per image."""
        mean, log_variance = self._encode(images)
        logits = self.model["decoder"](mean + (log_variance / 2).exp() * noise)
        brightness = (images + 1) / 2
        reconstruction = F.binary_cross_entropy_with_logits(logits, brightness, reduction="sum")
        divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum() / 2
        reconstruction, divergence = reconstruction / len(images), divergence / len(images)
        return {
            "loss": reconstruction + self.config.beta * divergence,
            "reconstruction": reconstruction,
            "divergence": divergence,
        }

    @torch.no_grad()
    def _test_losses(self) -> dict[str, float]:
        """Return the loss of the test images and its parts, with the same noise at every call."""
        noise = self.fixed_noise(len(self.test), TEST)
        sums: dict[str, float] = {}
        with evaluated(self.model):
            for images, part in zip(
                self.test.split(BATCH_SIZE), noise.split(BATCH_SIZE), strict=True
            ):
                for name, loss in self._losses(scale(images), part).items():
                    sums[name] = sums.get(name, 0) + loss.item() * len(images)
        return {name: value / len(self.test) for name, value in sums.items()}

    def _encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute means and log variances of latents, ``[B, latent_size]`` each."""
        mean, log_variance = self.model["encoder"](images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Compute images in [-1, 1] of latents."""
        # The mean of the Bernoulli distribution, from [0, 1] to [-1, 1].
        return self.model["decoder"](latents).sigmoid() * 2 - 1

    @torch.no_grad()
    def means(self, images: Tensor) -> Tensor:
        """Compute the latents of images: the means of the posterior, ``[B, latent_size]``."""
        with evaluated(self.model):
            return torch.cat([self._encode(scale(part))[0] for part in images.split(BATCH_SIZE)])

    def walk_ends(self) -> tuple[Tensor, Tensor]:
        """Return the latents of test images."""
        latents = self.means(self.test[: 2 * N_WALKS])
        half = max(len(latents) // 2, 1)
        return latents[:half], latents[-half:]

    def evaluate(self, updates: int) -> dict[str, float]:
        """Return metrics of samples, walks and reconstructed test images."""
        metrics = super().evaluate(updates)
        metrics |= {f"test/{name}": value for name, value in self._test_losses().items()}
        if not self.config.data:
            found = find_objects(self.samples(self.means(self.test)))
            metrics["test/good"] = found.good.double().mean().item()
        return metrics
