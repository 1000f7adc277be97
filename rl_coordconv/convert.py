"""Convert the convolutions of an existing network to CoordConv layers."""

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
    all hooks stay the same objects. Convolutions that share a weight are converted together and
    share the new one.

    Args:
        module: A network, changed in place, or a single convolution.
        layers: ``all``; ``first``, the first convolution by order of registration; or a list of
            module names.
        with_r: Also add the radius r.
        optimizer: The network's optimiser, or several. The new weights replace the old ones in the
            same parameter groups, with their state.

    Returns:
        The network, or the new layer where ``module`` is itself a convolution.

    Raises:
        ValueError: There is no such convolution, one cannot be converted, the optimiser trains none
            of them, or its state cannot be converted (Adafactor, L-BFGS). The message says why;
            the network is unchanged.

    Warns:
        UserWarning: An optimiser that was not passed trains one of the old weights, or a network
            outside ``module`` shares one.
    """
    # Imported here so that `import rl_coordconv` does not import torch. The package imports this
    # function eagerly: a later import of this module would rebind `rl_coordconv.convert` to it.
    from rl_coordconv.conversion import convert_layers

    return convert_layers(module, layers, with_r, optimizer)
