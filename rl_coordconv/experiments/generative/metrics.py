"""Metrics of generated images of two objects.

Liu et al. 2018, figure 7, give the entropies of positions, red / blue / difference:

    data                4.0  / 4.0  / 3.5
    GAN                 3.13 / 2.69 / 2.81
    CoordConv GAN       3.30 / 2.93 / 2.62

How the authors found objects and estimated entropies is not released. `position_entropies`
reproduces the row of the data; the other metrics are ours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_coordconv.experiments.generative.data import half_width
from rl_coordconv.experiments.generative.finder import Found, find_objects

BINS = 10
"""Number of bins per axis in a histogram of positions."""

_VALUES_PER_CHUNK = 2**24  # 64 MiB of float32


def sample_metrics(images: Tensor, real: Tensor) -> dict[str, float]:
    """Return all metrics of generated images.

    Args:
        images: Images in [-1, 1], ``[N, 3, H, W]``.
        real: The training images, uint8 ``[M, 3, H, W]``.

    Returns:
        ``good`` (see `Found.good`), ``coverage``, ``entropy_red``, ``entropy_blue``,
        ``entropy_difference`` and ``nearest_real``.
    """
    found = find_objects(images)
    entropies = position_entropies(found)
    return {
        "good": found.good.double().mean().item(),
        "coverage": coverage(found),
        **{f"entropy_{name}": value for name, value in entropies.items()},
        "nearest_real": nearest_real(images, real),
    }


def position_entropies(found: Found) -> dict[str, float]:
    """Return the entropies of ``red`` and ``blue`` centres and of their ``difference``.

    The difference is blue - red, over images with both objects. All objects that are found count,
    also in images that are not good; without any, the entropy is 0. 1,000 real images of 64 pixels
    give 4.0, 4.0 and 3.5, as in the paper. Fewer objects give less, because the estimate is biased,
    and another canvas gives other values, because bins at the edge differ.
    """
    red, blue = found.centres.unbind(dim=1)
    canvas = found.canvas
    return {
        "red": entropy(red, 0, canvas),
        "blue": entropy(blue, 0, canvas),
        "difference": entropy(blue - red, -canvas, canvas),
    }


def entropy(points: Tensor, low: float, high: float, bins: int = BINS) -> float:
    """Return the entropy of a two-dimensional histogram of points, in nats.

    Args:
        points: Points, ``[N, 2]``; those with NaN or out of range are left out.
        low: Lower end of the range on both axes.
        high: Upper end of the range on both axes.
        bins: Number of bins per axis.

    >>> entropy(torch.tensor([[0.5, 0.5], [1.5, 0.5]]), 0, 2, bins=2)  # ln 2
    0.6931471805599453
    """
    counts = _histogram(points, low, high, bins)
    counts = counts[counts > 0]
    shares = counts / counts.sum()
    return float((shares * np.log(1 / shares)).sum())


def coverage(found: Found) -> float:
    """Return the share of positions that good images reach, averaged over red and blue.

    Positions are the bins of `entropy` that the centre of a real object can be in, 8x8 of 10x10.
    1,000 real images reach nearly all of them.
    """
    half, canvas = half_width(found.canvas), found.canvas
    bins = np.unique(np.arange(half, canvas - half) * BINS // canvas)
    red, blue = found.centres[found.good].unbind(dim=1)
    reached = [
        _histogram(centres, 0, canvas, BINS)[np.ix_(bins, bins)] > 0 for centres in (red, blue)
    ]
    return float(np.mean(reached))


def _histogram(points: Tensor, low: float, high: float, bins: int) -> npt.NDArray[np.float64]:
    x, y = points[~points.isnan().any(dim=1)].double().cpu().numpy().T
    counts: npt.NDArray[np.float64] = np.histogram2d(x, y, bins, [[low, high], [low, high]])[0]
    return counts


def nearest_real(images: Tensor, real: Tensor, n: int = 100) -> float:
    """Return the root-mean-square difference to the nearest real image, averaged over images.

    It is 0 for copies, and near 0 if a model has memorised its training images.

    Args:
        images: Images in [-1, 1], ``[N, 3, H, W]``.
        real: The training images, uint8 ``[M, 3, H, W]``; compared in [-1, 1].
        n: Number of images to compare; the first ones are taken.
    """
    wanted = (images[:n].float().flatten(1) + 1) * 127.5
    chunk = max(_VALUES_PER_CHUNK // wanted.shape[1], 1)
    nearest = torch.zeros_like(wanted)
    smallest = torch.full_like(wanted[:, 0], torch.inf)
    for part in real.flatten(1).split(chunk):
        pixels = part.to(wanted.device).float()
        # Squared distances without |wanted|^2, which is the same for all real images.
        scores = pixels.square().sum(dim=1) - 2 * wanted @ pixels.T
        score, index = scores.min(dim=1)
        closer = score < smallest
        nearest[closer], smallest[closer] = pixels[index[closer]], score[closer]
    # Rounding of the scores matters little in the choice, but would matter in a small distance.
    squared = ((wanted - nearest) / 127.5).square().mean(dim=1)
    return squared.sqrt().mean().item()
