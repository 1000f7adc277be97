"""The learner of the GAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.experiments.generative.config import GANConfig
from rl_coordconv.experiments.generative.learner import N_WALKS, WALKS, GenerativeLearner
from rl_coordconv.experiments.generative.models import make_discriminator, make_generator
from rl_coordconv.speedups.optimizers import LightAdam

_GENERATOR_STEPS = 2  # per step of the discriminator, as in the authors' code


class GANLearner(GenerativeLearner):
    """A generator and a discriminator, trained as in the authors' code.

    Each update is one step of the discriminator and two of the generator on the same images and
    latents, with the non-saturating loss. The discriminator sees real and generated images in
    separate batches, because its BatchNorm would mix them.
    """

    config: GANConfig

    def make_networks(self) -> dict[str, nn.Module]:
        """Return the generator and the discriminator."""
        model, shape = self.config.model, self.config.shape
        return {
            "generator": make_generator(model, shape),
            "discriminator": make_discriminator(model, shape),
        }

    def make_optimizers(self) -> dict[str, LightAdam]:
        """Return one Adam per network."""
        config = self.config
        rates = {
            "generator": config.learning_rate,
            "discriminator": config.discriminator_learning_rate,
        }
        return {k: self.optimizer(self.model[k], x, config.beta_1) for k, x in rates.items()}

    def noise(self, number: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw latents ``[number, latent_size]``, uniform in [-1, 1)."""
        device = self.device if generator is None else generator.device
        size = number, self.config.latent_size
        return torch.rand(size, generator=generator, device=device) * 2 - 1

    def step(self, images: Tensor, noise: Tensor) -> Mapping[str, Tensor]:
        """Train on images in [-1, 1], and return the losses and the discriminator's accuracy."""
        generator, discriminator = self.model["generator"], self.model["discriminator"]
        # The discriminator's step does not change the generator, so its first step can use these.
        generated = self._shown(generator(noise))
        real_logits = discriminator(images)
        fake_logits = discriminator(generated.detach())
        real_loss, fake_loss = F.softplus(-real_logits).mean(), F.softplus(fake_logits).mean()
        _descend(self.optimizers["discriminator"], real_loss + fake_loss)

        discriminator.requires_grad_(False)
        for number in range(_GENERATOR_STEPS):
            if number > 0:
                generated = self._shown(generator(noise))
            generator_loss = F.softplus(-discriminator(generated)).mean()
            _descend(self.optimizers["generator"], generator_loss)
        discriminator.requires_grad_(True)
        return {
            "discriminator_loss": (real_loss + fake_loss).detach(),
            "generator_loss": generator_loss.detach(),
            "accuracy_real": (real_logits > 0).float().mean(),
            "accuracy_fake": (fake_logits < 0).float().mean(),
        }

    def _shown(self, output: Tensor) -> Tensor:
        """Return what the discriminator sees of a generator's output.

        The authors show their CoordConv GAN's discriminator images before ``tanh``, but that of the
        GAN without coordinates images after it.
        """
        is_raw = self.config.tanh == "paper" and self.config.model != "conv"
        return output if is_raw else output.tanh()

    def decode(self, latents: Tensor) -> Tensor:
        """Compute images in [-1, 1] of latents."""
        return cast(Tensor, self.model["generator"](latents).tanh())

    def walk_ends(self) -> tuple[Tensor, Tensor]:
        """Return random latents, the same at every call."""
        start, end = self.fixed_noise(2 * N_WALKS, WALKS).chunk(2)
        return start, end


def _descend(optimizer: LightAdam, loss: Tensor) -> None:
    """Take one step of gradient descent."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
