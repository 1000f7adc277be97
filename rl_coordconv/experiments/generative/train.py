"""Train one GAN or VAE, from scratch or from the run's last checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from rl_coordconv.experiments.generative.config import GANConfig, GenerativeConfig, VAEConfig
from rl_coordconv.experiments.generative.data import make_images
from rl_coordconv.experiments.generative.folder import read_folder
from rl_coordconv.experiments.generative.gan import GANLearner
from rl_coordconv.experiments.generative.learner import N_SAMPLES, OTHER, GenerativeLearner
from rl_coordconv.experiments.generative.vae import VAELearner
from rl_coordconv.runs.checkpoint import DAMAGED, load_tensors, rng_untouched
from rl_coordconv.runs.config import UserError
from rl_coordconv.runs.device import use_device
from rl_coordconv.runs.folder import Run, refuse_other_run
from rl_coordconv.runs.presets import print_quick_time
from rl_coordconv.runs.training import Callback, fit
from rl_coordconv.speedups.memory import keep_freed_memory

_DATA_SEED = 0  # all runs learn the same images, as in the paper
_TEST_SEED = 1

# Training seconds per epoch of the quick presets (docs/results/generative), on one core of an Intel
# Xeon beside other work.
_QUICK_SECONDS = {
    ("gan", "conv"): 42.0,
    ("gan", "coordconv"): 117.0,
    ("gan", "coordconv-g"): 112.0,
    ("gan", "coordconv-zeros"): 96.0,
    ("gan", "coordconv-noise"): 95.0,
    ("vae", "conv"): 10.0,
    ("vae", "coordconv"): 35.0,
    ("vae", "coordconv-zeros"): 35.0,
    ("vae", "coordconv-noise"): 39.0,
}


def train(config: GenerativeConfig, run: Run, callbacks: Sequence[Callback] = ()) -> None:
    """Train with `fit`, and show walks of `conv` and `coordconv` beside each other."""
    if config.preset == "quick":
        seconds = _QUICK_SECONDS[config.experiment, config.model] * config.n_epochs
        print_quick_time(run, seconds, "an Intel Xeon")
    device = use_device(config.device, config.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    images, test = (part.to(device) for part in read_images(config))
    (run.figures / "walks_of_both_models.gif").unlink(missing_ok=True)  # perhaps of older weights
    learner = make_learner(config, images, test, partial(_other_walks, config, images, test))
    fit(learner, config, run, callbacks)


@rng_untouched()
def _other_walks(config: GenerativeConfig, images: Tensor, test: Tensor) -> Tensor | None:
    """Return walks of the model in `OTHER`, if it is trained with the same settings."""
    if config.model not in OTHER:
        return None
    config = config.model_copy(update={"model": OTHER[config.model]})
    run = Run(config.folder, config)
    try:
        refuse_other_run(run, config)
        if not run.is_finished:
            return None
        learner = load_learner(config, run, images, test)
    except (UserError, *DAMAGED):
        return None
    return learner.walks()[0]


def make_learner(
    config: GenerativeConfig,
    images: Tensor,
    test: Tensor,
    find_other_walks: Callable[[], Tensor | None] = lambda: None,
) -> GenerativeLearner:
    """Return the learner of a config; see `GenerativeLearner`."""
    if isinstance(config, GANConfig):
        return GANLearner(config, images, test, find_other_walks)
    assert isinstance(config, VAEConfig)
    return VAELearner(config, images, test, find_other_walks)


def read_images(config: GenerativeConfig) -> tuple[Tensor, Tensor]:
    """Return the training images and other images for evaluation, uint8 ``[N, 3, H, W]``.

    Every tenth image of a folder is for evaluation.

    Raises:
        UserError: The folder cannot be used, or has fewer images than a batch.
    """
    if not config.data:
        return (
            make_images(config.n_images, config.canvas, _DATA_SEED),
            make_images(N_SAMPLES, config.canvas, _TEST_SEED),
        )
    images = read_folder(Path(config.data), config.canvas, config.n_images)
    is_test = torch.arange(len(images)) % 10 == 0
    training, test = images[~is_test], images[is_test]
    if len(training) < config.batch_size:
        raise UserError(
            f"{config.data} has too few images to train on ({len(training)}); add some, or use a"
            " smaller --batch-size."
        )
    return training, test[:N_SAMPLES]


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
