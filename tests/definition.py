"""CoordConv by the paper's definition: concatenate the coordinates, then convolve."""

import torch
from torch import Tensor, nn

from rl_coordconv import add_coords
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
