"""CoordConv by the paper's definition: concatenate the coordinates, then convolve."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from rl_coordconv import add_coords, coordconv
from rl_coordconv.coordconv import CoordConv1d, CoordConv2d, CoordConv3d, CoordConvTranspose2d

COUNTERPARTS = {
    CoordConv1d: nn.Conv1d,
    CoordConv2d: nn.Conv2d,
    CoordConv3d: nn.Conv3d,
    CoordConvTranspose2d: nn.ConvTranspose2d,
}


def plain_definition(layer: nn.Module, x: Tensor, **output_size) -> Tensor:
    """Compute a layer's expected output with torch's layer on concatenated channels."""
    batch = x if x.dim() == layer.axes + 2 else x.unsqueeze(0)
    groups = batch.chunk(layer.groups, dim=1)
    joint = torch.cat([add_coords(group, layer.with_r) for group in groups], dim=1)
    joint = joint if x.dim() == batch.dim() else joint.squeeze(0)
    settings = {"padding_mode": layer.padding_mode, "bias": layer.bias is not None}
    if isinstance(layer, nn.ConvTranspose2d):
        settings["output_padding"] = layer.output_padding
    plain = COUNTERPARTS[type(layer)](
        joint.shape[1 - layer.axes - 2],
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        device="meta",
        **settings,
    )
    # Use the same parameters, so that gradients of both outputs can be computed.
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain(joint, **output_size)


# How layers compute: as on a CPU, and as on a GPU, above and below the limit of multiply-adds.
FORMS: dict[str, float | None] = {"split": None, "map": 0.0, "concatenation": float("inf")}


@contextmanager
def computing(form: str, *, captured: bool = False) -> Iterator[None]:
    """Let layers on a CPU compute in this form, in the capture of a CUDA graph if it is one."""
    limit = FORMS[form]
    with pytest.MonkeyPatch.context() as patch:
        if limit is not None:
            patch.setattr(Tensor, "is_cuda", True, raising=False)
            patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: captured)
            patch.setattr(coordconv, "_EAGER_LIMIT", limit)
            patch.setattr(coordconv, "_CAPTURED_LIMIT", limit)
        yield
