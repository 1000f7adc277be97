"""Walks: images on straight lines between two latents, and how their objects move.

In Liu et al. 2018, the objects of a convolutional model fade out and in on the way, while those of
a CoordConv model move. The paper shows pictures only; the metrics are ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl_coordconv.experiments.generative.finder import HALF_SATURATION, find_objects

BATCH_SIZE = 256
"""Images to decode at once, which limits the memory of the decoder."""

_SHORTEST_PATH = 1.0  # pixels; the direction of a shorter path is meaningless


def walk(
    decode: Callable[[Tensor], Tensor], start: Tensor, end: Tensor, n_frames: int = 17
) -> Tensor:
    """Decode points on straight lines, ends included.

    Args:
        decode: Called on at most 256 latents ``[B, ...]`` at a time, without gradients; returns
            images ``[B, 3, H, W]``.
        start: First latents, ``[W, ...]``.
        end: Last latents, ``[W, ...]``.
        n_frames: Number of images per walk, F.

    Returns:
        The images, ``[W, F, 3, H, W]``.
    """
    times = torch.linspace(0, 1, n_frames, dtype=start.dtype, device=start.device)
    times = times.view(-1, *[1] * (start.dim() - 1))
    latents = torch.lerp(start[:, None], end[:, None], times).flatten(0, 1)
    with torch.no_grad():
        images = torch.cat([decode(part) for part in latents.split(BATCH_SIZE)])
    return images.view(len(start), n_frames, *images.shape[1:])


def pixel_walk(start: Tensor, end: Tensor, n_frames: int = 17) -> Tensor:
    """Interpolate between images in pixel space, as a baseline for walks between latents.

    Args:
        start: First images, ``[W, 3, H, W]``.
        end: Last images, ``[W, 3, H, W]``.
        n_frames: Number of images per walk, F.

    Returns:
        The images, ``[W, F, 3, H, W]``.
    """
    return walk(lambda images: images, start, end, n_frames)


def walk_metrics(frames: Tensor, threshold: float = HALF_SATURATION) -> dict[str, float]:
    """Return metrics of walks; those that are undefined are left out.

    - ``good``: share of good images; see `Found.good`.
    - ``middle_good``: the same in the middle third of the walk, where fading is worst.
    - ``straightness``: distance from an object's first to its last position over the length of its
      path; 1 for a straight line.
    - ``evenness``: mean step over largest step; 1 for an even movement, 1 / (F - 1) for one jump.

    The last two are averaged over walks and colours, and leave out paths of less than a pixel and
    those without the object in the first or last frame. Other frames without the object are
    skipped, so the step over a gap is a large one.

    Args:
        frames: Images in [-1, 1], ``[W, F, 3, H, W]``.
        threshold: Saturation above which a pixel counts. At 0, most images of a `pixel_walk` are
            good; at 0.5, hardly any in its middle third is.
    """
    n_walks, n_frames = frames.shape[:2]
    found = find_objects(frames.flatten(0, 1), threshold)
    good = found.good.double().view(n_walks, n_frames)
    metrics = {"good": good.mean().item()}
    frame = torch.arange(n_frames)
    middle = (3 * frame >= n_frames - 1) & (3 * frame <= 2 * (n_frames - 1))
    if middle.any():
        metrics["middle_good"] = good[:, middle].mean().item()
    paths = found.centres.view(n_walks, n_frames, 2, 2).transpose(1, 2).flatten(0, 1)
    movements = [movement for path in paths if (movement := _movement(path)) is not None]
    if movements:
        straightness, evenness = torch.tensor(movements, dtype=torch.float64).mean(dim=0).tolist()
        metrics |= {"straightness": straightness, "evenness": evenness}
    return metrics


def _movement(path: Tensor) -> tuple[float, float] | None:
    """Return straightness and evenness of one path ``[F, 2]``; None if it is left out."""
    found = ~path.isnan().any(dim=1)
    if not (found[0] and found[-1]):
        return None
    points = path[found]
    steps = points.diff(dim=0).norm(dim=1)
    length = steps.sum().item()
    if length < _SHORTEST_PATH:
        return None
    direct = (points[-1] - points[0]).norm().item()
    n_steps = len(path) - 1  # those in a gap too: one jump is the same everywhere
    return direct / length, length / n_steps / steps.max().item()
