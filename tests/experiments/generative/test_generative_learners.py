"""The updates of the GAN and the VAE, against slower definitions."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.testing import assert_close

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.generative.data import make_images, scale
from rl_coordconv.experiments.generative.gan import GANLearner
from rl_coordconv.experiments.generative.vae import VAELearner

TINY = {"canvas": 16, "channels": 2, "latent_size": 3, "batch_size": 4, "n_images": 8}
IMAGES = make_images(8, 16, seed=0)


def gan(**settings) -> GANLearner:
    return GANLearner(make_config("gan", **TINY, **settings), IMAGES, IMAGES)


def vae(**settings) -> VAELearner:
    return VAELearner(make_config("vae", **TINY, **settings), IMAGES, IMAGES)


def inputs(learner):
    torch.manual_seed(1)
    return scale(IMAGES[:4]), learner.noise(4)


def torch_adam(learner, network, name):
    """Return torch's Adam with the settings of a learner's optimiser."""
    (group,) = learner.optimizers[name].param_groups
    return torch.optim.Adam(network.parameters(), group["lr"], group["betas"])


class TestGAN:
    @pytest.mark.parametrize("model", ["conv", "coordconv", "coordconv-g"])
    @pytest.mark.parametrize("tanh", ["fair", "paper"])
    def test_an_update_is_one_step_of_the_discriminator_and_two_of_the_generator(self, model, tanh):
        learner = gan(model=model, tanh=tanh)
        learner.model.double()
        generator, discriminator = copy.deepcopy(learner.model).values()
        optimizers = [
            torch_adam(learner, network, name)
            for name, network in (("generator", generator), ("discriminator", discriminator))
        ]
        images, z = (x.double() for x in inputs(learner))
        ones, zeros = torch.ones_like(z[:, :1]), torch.zeros_like(z[:, :1])
        entropy = F.binary_cross_entropy_with_logits

        def fake():
            raw = generator(z)
            return raw if tanh == "paper" and model != "conv" else raw.tanh()

        real_loss = entropy(discriminator(images), ones)
        fake_loss = entropy(discriminator(fake().detach()), zeros)
        optimizers[1].zero_grad()
        (real_loss + fake_loss).backward()
        optimizers[1].step()
        for _ in range(2):
            optimizers[0].zero_grad()
            loss = entropy(discriminator(fake()), ones)
            loss.backward()
            optimizers[0].step()

        losses = learner.step(images, z)
        assert_close(losses["discriminator_loss"], (real_loss + fake_loss).detach())
        assert_close(losses["generator_loss"], loss.detach())
        # Not the weights: biases before BatchNorm have no gradient but that of rounding.
        assert_close(learner.model["generator"](z), generator(z))
        assert_close(learner.model["discriminator"](images), discriminator(images))

    def test_accuracies_are_shares_of_images_on_the_right_side(self):
        learner = gan(model="coordconv")
        last = learner.model["discriminator"][-1]
        torch.nn.init.zeros_(last.weight)
        for bias, real, fake in ((1.0, 1.0, 0.0), (-1.0, 0.0, 1.0)):
            torch.nn.init.constant_(last.bias, bias)
            losses = learner.step(*inputs(learner))
            assert (losses["accuracy_real"], losses["accuracy_fake"]) == (real, fake)
            torch.nn.init.zeros_(last.weight)

    def test_latents_fill_the_range_from_minus_one_to_one(self):
        z = gan().noise(10_000)
        assert z.shape == (10_000, 3)
        assert z.min() == pytest.approx(-1, abs=0.01)
        assert z.max() == pytest.approx(1, abs=0.01)
        assert z.mean() == pytest.approx(0, abs=0.02)


class TestVAE:
    def test_the_loss_is_the_negative_evidence_lower_bound_with_a_weight(self):
        learner = vae(beta=3.0)
        images, noise = inputs(learner)
        mean, log_variance = learner.model["encoder"](images).chunk(2, dim=1)
        posterior = Normal(mean, (log_variance / 2).exp())
        z = posterior.loc + posterior.scale * noise
        likelihood = Bernoulli(logits=learner.model["decoder"](z))
        log_likelihood = likelihood.log_prob((images + 1) / 2).sum() / 4
        divergence = kl_divergence(posterior, Normal(0, 1)).sum() / 4

        losses = learner.step(images, noise)
        assert_close(losses["reconstruction"], -log_likelihood.detach())
        assert_close(losses["divergence"], divergence.detach())
        assert_close(losses["loss"], (3 * divergence - log_likelihood).detach())

    def test_walks_go_from_the_reconstruction_of_one_image_to_that_of_another(self):
        learner = vae()
        frames, pixel_frames = learner.walks()
        ends = learner.samples(learner.means(IMAGES))
        assert_close(frames[:, 0], ends[:4])
        assert_close(frames[:, -1], ends[4:])
        middle = (ends[:4] + ends[4:]) / 2
        assert_close(pixel_frames[:, 8], middle)
        assert not torch.allclose(frames[:, 8], middle, atol=1e-4)


@pytest.mark.parametrize("make", [gan, vae])
@pytest.mark.parametrize("model", ["conv", "coordconv"])
def test_evaluation_changes_nothing_and_is_the_same_each_time(make, model):
    learner = make(model=model)
    learner.update(0)
    before = copy.deepcopy(learner.state())
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    first = learner.evaluate(1)
    assert torch.equal(torch.rand(1), wanted)
    assert learner.evaluate(1) == first
    assert learner.model.training
    assert_close(learner.state(), before)
