"""RMSpropTFLike and Adam without importing torch's compiler; updates and speed are the same.

Decorators of torch's optimisers import the compiler, which takes 145 MiB with A2C, 110 MiB with PPO
(``docs/performance.md``) and a second at the start of training. Use ``RMSpropTFLike`` and
``torch.optim.Adam`` instead if ``torch.compile`` is to compile the whole policy.

Their steps can be captured in a CUDA graph if the learning rate is a tensor.
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, possibly of another device: only the values of its settings are used."""
        unwrap(Optimizer.load_state_dict)(self, state_dict)
        for group in self.param_groups:
            if "capturable" in self.defaults:
                group["capturable"] = self.defaults["capturable"]
            group["lr"] = self._rate(float(group["lr"]))

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of all groups; if it is a tensor, for a captured step too."""
        for group in self.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    def make_capturable(self, device: torch.device) -> None:
        """Make the learning rate a tensor, so that a captured step on a GPU can be replayed."""
        self.defaults["lr"] = torch.tensor(float(self.defaults["lr"]), device=device)
        if "capturable" in self.defaults:
            self.defaults["capturable"] = device.type == "cuda"
        for group in self.param_groups:
            if "capturable" in self.defaults:
                group["capturable"] = self.defaults["capturable"]
            group["lr"] = self._rate(float(group["lr"]))

    def _rate(self, value: float) -> float | Tensor:
        """Return a learning rate of the type of the default, on its device."""
        rate = self.defaults["lr"]
        return torch.full_like(rate, value) if isinstance(rate, Tensor) else value


class LightRMSpropTFLike(_Light, RMSpropTFLike):
    """Stable-Baselines3's ``RMSpropTFLike``, with the same arguments; for A2C."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the weights; see ``RMSpropTFLike``.

        Raises:
            ValueError: The learning rate is a tensor, and there is a momentum or weight decay.
        """
        if not isinstance(self.defaults["lr"], Tensor):
            return unwrap(RMSpropTFLike.step)(self, closure)  # without the hooks of that class
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["momentum"] or group["weight_decay"] or group["centered"]:
                raise ValueError(
                    "With a tensor as learning rate, only lr, alpha and eps can be set."
                )
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step_with_tensor(weights, group["lr"], group["alpha"], group["eps"])
        return loss

    def _step_with_tensor(
        self, weights: list[Tensor], rate: Tensor, alpha: float, eps: float
    ) -> None:
        """Do the arithmetic of ``RMSpropTFLike`` for all weights at once."""
        gradients: list[Any] = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {"step": 0, "square_avg": torch.ones_like(weight)}
        averages = [self.state[weight]["square_avg"] for weight in weights]
        torch._foreach_mul_(averages, alpha)
        torch._foreach_addcmul_(averages, gradients, gradients, value=1 - alpha)
        roots = torch._foreach_add(averages, eps)
        torch._foreach_sqrt_(roots)
        changes = torch._foreach_div(gradients, roots)
        torch._foreach_mul_(changes, rate)
        torch._foreach_sub_(weights, changes)


class LightAdam(_Light, Adam):
    """``torch.optim.Adam``, with the same arguments, but ``fused`` by default; for PPO."""

    def __init__(self, *args: Any, foreach: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("fused", foreach is None)
        super().__init__(*args, foreach=foreach, **kwargs)
        # Else it warns at its first step outside a capture, but some steps must precede a capture.
        self._warned_capturable_if_run_uncaptured = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the weights; see ``torch.optim.Adam.step``."""
        loss = unwrap(Adam.step)(self, closure)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        # The fused step does not increment the versions of the weights it changes.
        increment_version([weight for weight in weights if weight.grad is not None])
        return loss
