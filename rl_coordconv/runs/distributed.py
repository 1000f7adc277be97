"""Communication between the processes that ``torchrun`` started for one training.

With one process, the functions return their arguments and nothing is started. With several, every
process must call the same functions in the same order, because each call waits for the others.
Numbers and objects are exchanged between the CPUs (gloo), so that this does not wait for a GPU;
tensors on GPUs are exchanged by NCCL.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rl_coordconv.runs.ranks import is_main, world_size

# torch is imported in the functions that need it, so that a wrong flag is reported at once.
if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")


@contextmanager
def connected() -> Iterator[None]:
    """Connect the processes; disconnect them when the block ends without an error.

    After an error, another process may have ended, and disconnecting could wait for it.
    """
    if world_size() == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    yield
    dist.destroy_process_group()


def wrap(model: nn.Module) -> nn.Module:
    """Return a module that computes the same, and averages gradients over the processes.

    All processes get the parameters and buffers of rank 0. Call the returned module in training;
    the parameters, and the state to save, are still those of ``model``.
    """
    if world_size() == 1:
        return model
    from torch.nn.parallel import DistributedDataParallel

    barrier()  # fails if another process has ended; NCCL would wait for it
    return DistributedDataParallel(model)


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes; its shape must be the same in all."""
    if world_size() == 1:
        return values
    import torch.distributed as dist

    values = values.clone()
    dist.all_reduce(values)
    return values


def mean(losses: Mapping[str, Tensor], batch_size: int) -> tuple[Mapping[str, Tensor], int]:
    """Return the losses averaged over the samples of all processes, and their number.

    Args:
        losses: Scalars averaged over this process's samples; the same names in all processes.
        batch_size: The number of these samples.
    """
    if world_size() == 1:
        return losses, batch_size
    import torch

    n_samples = int(total(torch.tensor(batch_size)))
    sums = total(torch.stack([loss * batch_size for loss in losses.values()]))
    return dict(zip(losses, sums / n_samples, strict=True)), n_samples


def largest(number: int) -> int:
    """Return the largest of the processes' numbers."""
    if world_size() == 1:
        return number
    import torch
    import torch.distributed as dist

    found = torch.tensor(number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def gathered(value: T) -> list[T]:
    """Return the values of all processes, in the order of their ranks; they are pickled."""
    if world_size() == 1:
        return [value]
    import torch.distributed as dist

    values = [value] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_main(value: T) -> T:
    """Return the value of rank 0, which is pickled; other processes' values are ignored."""
    if world_size() == 1:
        return value
    import torch.distributed as dist

    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def state_from_main(state: dict[str, Any] | None, device: torch.device) -> dict[str, Any] | None:
    """Return the state of rank 0, which may contain tensors, on this process's device.

    Args:
        state: A state as in a checkpoint, or None; ignored in other processes.
        device: The device of the tensors returned.
    """
    if world_size() == 1:
        return state
    import torch

    buffer = io.BytesIO()
    if is_main():
        torch.save(state, buffer)
    content = io.BytesIO(from_main(buffer.getvalue()))
    shared: dict[str, Any] | None = torch.load(content, map_location=device, weights_only=True)
    return shared


def buffers_from_main(model: nn.Module) -> None:
    """Copy the buffers of rank 0's network, such as running means, to all processes."""
    if world_size() > 1:
        import torch.distributed as dist

        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def barrier() -> None:
    """Wait until all processes have called this."""
    gathered(None)
