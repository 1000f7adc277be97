"""Train one GAN or VAE, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig, VAEConfig
from rl_coordconv.experiments.generative.data import make_images
from rl_coordconv.experiments.generative.figures import side_by_side
from rl_coordconv.experiments.generative.folder import read_folder
from rl_coordconv.experiments.generative.gan import GANLearner
from rl_coordconv.experiments.generative.learner import N_SAMPLES, GenerativeLearner
from rl_coordconv.experiments.generative.vae import VAELearner
from rl_coordconv.runs.animation import save_animation
from rl_coordconv.runs.checkpoint import DAMAGED, load_tensors, rng_untouched
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run, refuse_other_run
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

_DATA_SEED = 0  # all runs learn the same images, as in the paper
_TEST_SEED = 1


def train(config: GenerativeConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`, then compare with the same training of the other model, if there is one."""
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    images, test = (part.to(device) for part in read_images(config))
    learner = make_learner(config, images, test)
    fit(learner, config, run, callbacks)
    with suppress(*DAMAGED):  # also if the other run has other settings
        _draw_both(learner, run)


@rng_untouched()
def _draw_both(learner: GenerativeLearner, run: Run) -> None:
    """Draw walks of the models without and with coordinates side by side, if both are trained."""
    config = learner.config
    others = {"conv": "coordconv", "coordconv": "conv"}
    if config.model not in others:
        return
    other_config = config.model_copy(update={"model": others[config.model]})
    other = Run(other_config.folder, other_config)
    refuse_other_run(other, other_config)
    if other.is_finished:
        other_learner = load_learner(other_config, other, learner.training, learner.test)
        walks = {each.config.model: each.walks()[0] for each in (learner, other_learner)}
        frames = side_by_side({name: walks[name] for name in others})
        save_animation(frames, run.figures / "walks_of_both_models.gif")


def make_learner(config: GenerativeConfig, images: Tensor, test: Tensor) -> GenerativeLearner:
    """Return the learner of a config; see `GenerativeLearner`."""
    if isinstance(config, GANConfig):
        return GANLearner(config, images, test)
    assert isinstance(config, VAEConfig)
    return VAELearner(config, images, test)


def read_images(config: GenerativeConfig) -> tuple[Tensor, Tensor]:
    """Return the training images and other images for evaluation, uint8 ``[N, 3, H, W]``.

    A folder's images are used for both, because a GAN's evaluation only shows some of them and a
    folder may be small.

    Raises:
        UserError: The folder cannot be used, or has fewer images than a batch.
    """
    if not config.data:
        return (
            make_images(config.n_images, config.canvas, _DATA_SEED),
            make_images(N_SAMPLES, config.canvas, _TEST_SEED),
        )
    images = read_folder(Path(config.data), config.canvas)
    if len(images) < config.batch_size:
        raise UserError(
            f"{config.data} has {len(images)} images; add some, or use --batch-size {len(images)}."
        )
    return images, images[:N_SAMPLES]


def load_model(config: GenerativeConfig, run: Run) -> nn.Module:
    """Return the trained networks of a finished run, a ``ModuleDict``, on the CPU."""
    nothing = torch.empty(0, 3, config.canvas, config.canvas, dtype=torch.uint8)
    return load_learner(config, run, nothing, nothing).model


def load_learner(
    config: GenerativeConfig, run: Run, images: Tensor, test: Tensor
) -> GenerativeLearner:
    """Return a learner with the trained networks of a finished run.

    Args:
        config: The run's settings.
        run: The finished run.
        images: The training images, uint8 ``[N, 3, H, W]``, on the learner's device.
        test: Other images, for evaluation.
    """
    learner = make_learner(config, images, test)
    learner.model.load_state_dict(load_tensors(run.final_weights))
    return learner
