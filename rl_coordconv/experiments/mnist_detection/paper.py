"""The paper's results on detection (Liu et al. 2018, abstract and table S3).

The numbers of table S3 are quoted from memory, and agree with the percentages printed beside them.
"""

from __future__ import annotations

IOU_GAIN = 0.24
"""Relative gain in test IOU with CoordConv (abstract)."""

LOSSES = {
    "rpn-conv": {"loss": "0.6271", "box_loss": "0.1003", "score_loss": "0.5270"},
    "rpn-coordconv": {"loss": "0.3383", "box_loss": "0.0854", "score_loss": "0.2526"},
}
"""Test losses (table S3, from memory)."""
