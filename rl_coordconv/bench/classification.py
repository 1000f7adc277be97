"""Measure the updates of a classifier with a layer in front against those of the plain network."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from rl_coordconv.bench.timing import Report, make_report, ratios, time_interleaved
from rl_coordconv.experiments.image_classification.models import make_classifier
from rl_coordconv.experiments.image_classification.names import ClassificationModel
from rl_coordconv.runs.device import use_device

MODELS: tuple[ClassificationModel, ...] = ("plain", "conv", "coordconv")
"""The models to measure, with the plain network first."""

_N_CLASSES = 1000


def run(repeats: int, device_name: str, backbone: str, size: int, batch_size: int) -> Report:
    """Time one update of each model on random images.

    Args:
        repeats: Number of measured rounds, at least 1.
        device_name: ``cpu`` or ``cuda``, where autocast to bfloat16 is on.
        backbone: Name of a classifier of torchvision or timm.
        size: Height and width of the images, in pixels.
        batch_size: Images per update.
    """
    device = use_device(device_name, 0)
    images = torch.randn(batch_size, 3, size, size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=device) % _N_CLASSES
    updates: dict[str, Callable[[], None]] = {
        model: _updates(make_classifier(model, backbone, _N_CLASSES), images, labels)
        for model in MODELS
    }
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = time_interleaved(updates, repeats, wait)
    by_model = ratios({name: [1 / x for x in own] for name, own in times.items()}, MODELS[0])
    table = [["model", "images per second", "ratio to plain"]]
    rows = []
    for model in MODELS:
        speed = batch_size / median(times[model])
        rows.append({"model": model, "images_per_second": speed, "ratio": by_model[model]})
        table.append([model, f"{speed:.1f}", f"{by_model[model]:.3f}"])
    where = "a GPU, bfloat16" if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    note = f"Updates of {backbone} with {batch_size} images of {size}x{size} pixels, on {where}."
    settings = {"backbone": backbone, "size": size, "batch_size": batch_size, "rows": rows}
    return make_report(repeats, {"device": device_name, **settings}, [table], note)


def _updates(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    """Return a function that takes one step of gradient descent at each call."""
    network.to(images.device).to(memory_format=torch.channels_last)
    optimizer = SGD(network.parameters(), 0.01, momentum=0.9)

    def update() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update
