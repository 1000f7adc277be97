"""Convolutions over one-hot images, computed only near the hot pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.coordconv import coordinate_channels


class OneHotConvs(nn.Sequential):
    """A CoordConv layer, size-preserving convolutions and activations, for one-hot images.

    The output equals that of ``nn.Sequential``, but is faster to compute. It differs from the
    output for an empty image only near the hot pixel: in 5x5 pixels for two convolutions of 3x3. So
    the layers run once on an empty image and, for each sample, on a window of 9x9 pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the output ``[B, C, H, W]`` for one-hot images ``[B, 1, H, W]``."""
        reach = sum(layer.kernel_size[0] // 2 for layer in self if isinstance(layer, nn.Conv2d))
        pixels = x.flatten(1).argmax(dim=1)
        rows, columns = pixels // x.shape[3], pixels % x.shape[3]

        empty = torch.zeros_like(x[:1])
        for layer in self:
            empty = layer(empty)
        empty = F.pad(empty, [reach] * 4)  # room for windows
        seen = self._windows(x, rows, columns, reach)  # [B, C, side, side]

        width = empty.shape[3]
        side = torch.arange(seen.shape[3], device=x.device)
        window = (side[:, None] * width + side).flatten()
        index = ((rows * width + columns)[:, None] + window)[:, None].expand(-1, seen.shape[1], -1)
        out = empty.flatten(2).expand(len(x), -1, -1).scatter(2, index, seen.flatten(2))
        return F.pad(out.view(-1, *empty.shape[1:]), [-reach] * 4)

    def _windows(self, x: Tensor, rows: Tensor, columns: Tensor, reach: int) -> Tensor:
        """Return the output around each hot pixel; values outside the image are meaningless."""
        margin = 2 * reach  # of the receptive field, on each side
        side = 2 * margin + 1
        coords = coordinate_channels(x.shape[2:], device=x.device, dtype=x.dtype)
        fields = F.pad(torch.cat([torch.ones_like(x[0]), coords]), [margin] * 4)
        fields = fields.unfold(1, side, 1).unfold(2, side, 1)[:, rows, columns]
        inside, i, j = fields[:, :, None]  # [B, 1, side, side] each
        one = torch.zeros_like(inside)
        one[..., margin, margin] = 1
        out = torch.cat([one, i, j], dim=1)
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                out = F.conv2d(out * inside, layer.weight, layer.bias)
                inside = F.pad(inside, [-(layer.kernel_size[0] // 2)] * 4)
            else:
                out = layer(out)
        return out
