"""The paper's result on image classification (Liu et al. 2018, section 5), quoted from memory."""

from __future__ import annotations

P_VALUE = "p = 0.11, one-sided"

TOP5_GAIN = "+0.04%"
"""Gain in top-5 accuracy on ImageNet, mean of five runs; not significant."""
