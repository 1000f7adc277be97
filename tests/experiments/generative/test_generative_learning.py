"""A small VAE learns where an object is, but not without coordinates."""

import pytest
import torch

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.generative.data import draw, place_objects
from rl_coordconv.experiments.generative.finder import find_objects
from rl_coordconv.experiments.generative.vae import VAELearner


def one_object(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of a red object on white, and its centres."""
    objects = place_objects(number, 16, seed)
    images = draw(objects)
    blue = images[:, :1] == 0
    return images.masked_fill(blue, 255), objects.centres[:, 0]


def share_in_place(model: str, seed: int, most_updates: int) -> float:
    """Return the share of reconstructed objects that are within a pixel of their true place.

    Training ends when it is above one half.
    """
    images, _ = one_object(1000, seed=0)
    test, centres = one_object(200, seed=1)
    settings = {"canvas": 16, "latent_size": 2, "n_images": 1000, "learning_rate": 0.004}
    config = make_config("vae", model=model, seed=seed, beta=0.1, **settings)
    learner = VAELearner(config, images, test)
    share = 0.0
    for number in range(most_updates):
        learner.update(number)
        if number % 50 < 49:
            continue
        found = find_objects(learner.samples(learner.means(test)))
        errors = (found.centres[:, 0] - centres).norm(dim=1)
        share = (errors <= 1).double().mean().item()
        if share > 0.5:
            break
    return share


@pytest.mark.slow
def test_coordinates_let_a_decoder_put_an_object_in_its_place():
    """With coordinates, 18 seeds needed 150 to 300 updates."""
    shares = [share_in_place("coordconv", seed, most_updates=1000) for seed in (0, 1, 2)]
    assert sum(shares) / 3 > share_in_place("coordconv-zeros", 0, most_updates=300) + 0.4
