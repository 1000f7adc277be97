"""The optimisers of A2C and PPO, light: the same updates without torch's compiler in memory.

Torch keeps its compiler out of an optimiser by decorators that import it: some 150 MB, and a second
at the start of every training. A policy that is compiled as a whole should take torch's own.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch.optim import Adam, Optimizer


class _Light(Optimizer):
    """Torch's bookkeeping without the decorators."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class LightRMSpropTFLike(_Light, RMSpropTFLike):
    """Stable-Baselines3's ``RMSpropTFLike``, which A2C on Atari takes; arguments are its."""


class LightAdam(_Light, Adam):
    """``torch.optim.Adam`` in one pass over the weights (``fused``); arguments are its."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"fused": True, **kwargs})

    step = torch.no_grad()(unwrap(Adam.step))
