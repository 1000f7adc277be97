"""The optimisers of A2C and PPO without torch's compiler in memory; the updates are the same.

Torch's optimisers have decorators that import its compiler: 145 MiB more for A2C and 110 for PPO
(``docs/performance.md``), and a second at the start of every training; the speed is the same. To
leave them out, take ``RMSpropTFLike`` and ``torch.optim.Adam``, as a policy should that is compiled
as a whole.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch.autograd.graph import increment_version
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
    """``torch.optim.Adam``, in one pass over the weights (``fused``) unless told otherwise."""

    def __init__(self, *args: Any, foreach: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("fused", foreach is None)
        super().__init__(*args, foreach=foreach, **kwargs)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, as torch's."""
        loss = unwrap(Adam.step)(self, closure)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        # The fused step does not say that it changed them.
        increment_version([weight for weight in weights if weight.grad is not None])
        return loss
