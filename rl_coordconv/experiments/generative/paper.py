"""The paper's results on generative models (Liu et al. 2018, section 5)."""

from __future__ import annotations

ENTROPIES = {
    "data": {"red": "4.0", "blue": "4.0", "difference": "3.5"},
    "conv": {"red": "3.13", "blue": "2.69", "difference": "2.81"},
    "coordconv": {"red": "3.30", "blue": "2.93", "difference": "2.62"},
}
"""Entropies of the positions in 1,000 samples of the data and of the GANs.

The authors show "the best out of many runs".
"""

WALKS = {"conv": "objects fade in and out", "coordconv": "objects move"}
"""The authors' description of the VAEs' walks, in their blog; there is no number."""
