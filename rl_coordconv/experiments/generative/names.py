"""Names of the models, without importing torch."""

from __future__ import annotations

from typing import Literal

GANModel = Literal["conv", "coordconv", "coordconv-g", "coordconv-zeros", "coordconv-noise"]
"""The GAN's models, with the paper's baseline first.

``coordconv-g`` has coordinates in the generator only; ``coordconv-zeros`` and ``coordconv-noise``
are ``coordconv`` with zeros or fixed noise in place of the coordinates.
"""

VAEModel = Literal["conv", "coordconv", "coordconv-zeros", "coordconv-noise"]
"""The VAE's models, whose decoders differ, with the paper's baseline first."""
