"""The paper's results on the toy tasks.

Liu et al. 2018: figures 4 (classification), 5 (examples; regression) and 6 (rendering), and the
abstract. The paper states few numbers; most values are read off figures, so they are approximate.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """The paper's results as text; a dash where the paper gives none.

    Args:
        train: The task's main metric on the training samples.
        test: The task's main metric on the test samples.
        seconds: Training time, on hardware of 2018.
        parameters: Number of parameters of the network.
    """

    train: str = "-"
    test: str = "-"
    seconds: str = "-"
    parameters: str = "-"


_DECONV_SECONDS = "about 4,000 to 80% test on uniform"
_COORDCONV = Claim("100%", "100%", "10 to 20", "7,553")
_RENDERED = Claim("about 1.0 at best", "about 1.0 at best", "about 60")

CLAIMS: dict[tuple[str, str, str], Claim] = {
    ("classification", "uniform", "deconv"): Claim(
        "up to about 100%", "about 86% at best", _DECONV_SECONDS, "46,465 to 1,632,001"
    ),
    ("classification", "quadrant", "deconv"): Claim(
        "up to about 100%", "about 0%", _DECONV_SECONDS, "46,465 to 1,632,001"
    ),
    ("classification", "uniform", "coordconv"): _COORDCONV,
    ("classification", "quadrant", "coordconv"): _COORDCONV,
    ("rendering", "uniform", "deconv"): Claim(
        "about 0.83", "about 0.83 at best", "over 7,200", "about 1 million"
    ),
    ("rendering", "quadrant", "deconv"): Claim(
        "up to about 0.9", "about 0.36 at best", "over 7,200", "about 1 million"
    ),
    ("rendering", "uniform", "coordconv"): _RENDERED,
    ("rendering", "quadrant", "coordconv"): _RENDERED,
    ("regression", "quadrant", "conv"): Claim("poor", "fails"),
    ("regression", "uniform", "coordconv"): Claim("perfect", "perfect", "-", "about 900"),
    ("regression", "quadrant", "coordconv"): Claim("perfect", "perfect", "-", "about 900"),
}


def claim(task: str, split: str, model: str) -> Claim:
    """Return the paper's values for a model on a task."""
    return CLAIMS.get((task, split, model), Claim())
