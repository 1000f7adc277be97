"""Give the convolutions of an existing network coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def convert(
    module: nn.Module,
    layers: Literal["all", "first"] | Sequence[str] = "all",
    with_r: bool = False,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
) -> nn.Module:
    """Replace a network's convolutions by CoordConv layers, without changing its output.

    Convert before creating anything that refers to the weights, such as
    ``DistributedDataParallel`` or an optimiser, or pass the optimiser. Biases, other parameters and
    all hooks remain the same objects. Convolutions that share a weight are converted together and
    share the new one.

    Args:
        module: A network, changed in place, or a single convolution.
        layers: ``all`` convolutions; the ``first``, by order of registration; or a list of names.
        with_r: Add the radius to the coordinates.
        optimizer: The network's optimiser, or several. The new weights replace the old ones in the
            same parameter groups, with their state.

    Returns:
        The network, or the new layer where ``module`` is itself a convolution.

    Raises:
        ValueError: There is no such convolution, one of them cannot be converted (the message says
            why), the optimiser trains none of them, or its state cannot be converted (Adafactor's,
            L-BFGS's). The network is unchanged then.

    Warns:
        UserWarning: An optimiser that was not passed trains one of the old weights, or a network
            outside of ``module`` shares one.
    """
    # Imported here so that the package can import this function without loading torch. It does so
    # up front: a later import of this module would rebind `rl_coordconv.convert` to the module.
    from rl_coordconv.conversion import convert_layers

    return convert_layers(module, layers, with_r, optimizer)
