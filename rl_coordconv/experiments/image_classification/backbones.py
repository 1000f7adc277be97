"""Classifiers of torchvision and timm, and their weights."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from rl_coordconv.runs.config import UserError, nearest

DEFAULT = "DEFAULT"
"""The weights that torchvision, or timm, publishes for a network."""

_SEVERAL_OUTPUTS = ("googlenet", "inception_v3")  # in torchvision

_Weights = Mapping[str, Tensor]


def make_backbone(name: str, n_classes: int, weights: str = "") -> nn.Module:
    """Return a classifier: images ``[B, 3, H, W]`` to logits ``[B, n_classes]``.

    Args:
        name: A classifier of ``torchvision.models``, or else of timm.
        n_classes: Number of classes.
        weights: ``DEFAULT``, a file with a ``state_dict``, or empty for random weights. If they are
            for another number of classes, the last layer starts with random weights.

    Raises:
        UserError: There is no such classifier, or its weights cannot be loaded.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name in _SEVERAL_OUTPUTS:
        raise UserError(f"--backbone {name} has several outputs; choose another, such as resnet50.")
    is_timm = name not in known
    if is_timm:
        backbone = _make_timm(name, n_classes, known)
    else:
        backbone = torchvision.models.get_model(name, weights=None, num_classes=n_classes)
    if weights == DEFAULT:
        load = _default_of_timm if is_timm else _default_of_torchvision
        _load(backbone, _download(load, name), f"The weights of {name}")
    elif weights:
        _load(backbone, _read(Path(weights)), weights)
    return backbone


def _make_timm(name: str, n_classes: int, known: list[str]) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise UserError(
            f"torchvision has no classifier {name!r}; {nearest(name, known)} More are in timm: "
            "pip install timm."
        ) from None
    try:
        backbone: nn.Module = timm.create_model(name, num_classes=n_classes)
    except RuntimeError:
        known = [*known, *timm.list_models()]
        raise UserError(f"There is no classifier {name!r}; {nearest(name, known)}") from None
    return backbone


def _default_of_torchvision(name: str) -> _Weights:
    published = torchvision.models.get_model_weights(name)["DEFAULT"]
    state: _Weights = published.get_state_dict(progress=True, check_hash=True)
    return state


def _default_of_timm(name: str) -> _Weights:
    import timm

    state: _Weights = timm.create_model(name, pretrained=True).state_dict()
    return state


def _download(load: Callable[[str], _Weights], name: str) -> _Weights:
    try:
        weights: _Weights = load(name)
    # torchvision and timm raise any of these without a network or without such weights.
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"The weights of {name} cannot be downloaded ({reason}); choose a file with --weights."
        ) from None
    return weights


def _read(file: Path) -> _Weights:
    """Read a ``state_dict``, possibly that of a checkpoint of torchvision's training script."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        raise UserError(f"--weights {file} is not a readable file of weights.") from None
    state = content.get("model", content) if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"--weights {file} has no weights.")
    return state


def _load(backbone: nn.Module, weights: _Weights, source: str) -> None:
    """Load weights; those of a last layer with another number of classes are left out."""
    own = backbone.state_dict()
    wrong = own.keys() ^ {k for k in weights if k not in own or weights[k].shape == own[k].shape}
    head = {key for key in wrong if key in own and _is_of_last_layer(key, own, weights)}
    if wrong - head:
        raise UserError(
            f"{source} does not fit the network: {min(wrong - head)} is missing, unknown or of"
            " another size."
        )
    backbone.load_state_dict({k: own[k] if k in head else weights[k] for k in own})


def _is_of_last_layer(key: str, own: _Weights, weights: _Weights) -> bool:
    """Return whether weights differ only in their number of classes."""
    *_, last = own
    is_last = key.rpartition(".")[0] == last.rpartition(".")[0]
    return is_last and key in weights and own[key].shape[1:] == weights[key].shape[1:]
