"""RMSpropTFLike and Adam without importing torch's compiler; updates and speed are the same.

Decorators of torch's optimisers import the compiler, which takes 145 MiB with A2C, 110 MiB with PPO
(``docs/performance.md``) and a second at the start of training. Use ``RMSpropTFLike`` and
``torch.optim.Adam`` instead if ``torch.compile`` is to compile the whole policy.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.optim import Adam, Optimizer


class _Light(Optimizer):
    """Base class: the methods of torch's ``Optimizer`` without their decorators."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class LightRMSpropTFLike(_Light, RMSpropTFLike):
    """Stable-Baselines3's ``RMSpropTFLike``, with the same arguments; for A2C."""


class LightAdam(_Light, Adam):
    """``torch.optim.Adam``, with the same arguments, but ``fused`` by default; for PPO."""

    def __init__(self, *args: Any, foreach: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("fused", foreach is None)
        super().__init__(*args, foreach=foreach, **kwargs)
        # Else it warns at its first step outside a capture, but some steps must precede a capture.
        self._warned_capturable_if_run_uncaptured = True

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, possibly of another device: only the values of its settings are used."""
        super().load_state_dict(state_dict)
        rate = self.defaults["lr"]
        for group in self.param_groups:
            group["capturable"] = self.defaults["capturable"]
            value = float(group["lr"])
            group["lr"] = torch.full_like(rate, value) if isinstance(rate, Tensor) else value

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of all groups; if it is a tensor, for a captured step too."""
        for group in self.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the weights; see ``torch.optim.Adam.step``."""
        loss = unwrap(Adam.step)(self, closure)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        # The fused step does not increment the versions of the weights it changes.
        increment_version([weight for weight in weights if weight.grad is not None])
        return loss
