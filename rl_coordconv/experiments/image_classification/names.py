"""Names of the models, without importing torch."""

from __future__ import annotations

from typing import Literal

ClassificationModel = Literal["plain", "conv", "coordconv", "coordconv-zeros", "coordconv-noise"]
"""The models, with the baseline first.

``plain`` is the network as it is. The others have a 1x1 layer with eight output channels in front:
``conv`` an ordinary convolution, ``coordconv`` one with coordinates and radius, and the controls
``coordconv-zeros`` and ``coordconv-noise`` one with zeros or fixed noise in their place.
"""

DataSource = Literal["digits", "mnist-5k", "quadrants", "bars"]
"""Data that need no files."""

Schedule = Literal["step", "cosine", "constant"]
"""Schedules of the learning rate."""

Precision = Literal["float32", "bfloat16"]
"""Precisions of the network's operations."""
