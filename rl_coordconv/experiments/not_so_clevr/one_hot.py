"""Convolutions over one-hot images, computed only where the one is seen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rl_coordconv.coordconv import coordinate_channels


class OneHotConvs(nn.Sequential):
    """A CoordConv layer, convolutions that keep the size, and activations, over one-hot images.

    What such a network computes differs from what it computes for an empty image only where the one
    is in reach: five by five pixels for two convolutions of 3x3. So it runs over one empty image,
    and for each sample over a window of nine by nine alone.

    What it computes is ``nn.Sequential``'s forward.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, 1, H, W]``, a 1 and zeros in each -> ``[B, C, H, W]``."""
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
        """The output around each one, as far as it is seen; outside of the image, anything."""
        margin, side = 2 * reach, 4 * reach + 1  # what the output sees, on each side and in all
        coords = coordinate_channels(x.shape[2:]).to(x)
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
