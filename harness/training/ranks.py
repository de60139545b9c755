"""The processes that train one model together: what each takes of a batch, and what they exchange.

Each process (rank) encodes its share of a batch. The fragments of all shares are gathered, so that every rank sees the
negatives of the whole batch, and the gradients of the encoders are added up by DistributedDataParallel.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.fragments import Fragments
from harness.training.parts import Part

#: Longest wait for another rank: as long as one rank may validate alone. A rank that dies is seen by the process that
#: started it, long before.
PATIENCE = timedelta(hours=2)


class Ranks:
    """One process that trains alone; `Group` is one of several.

    >>> Ranks().part.taken(5), Ranks().leads
    (slice(0, 5, None), True)
    """

    number: int = 0  #: of this process; the first writes the checkpoint and validates
    count: int = 1

    @property
    def part(self) -> Part:
        """The part of each batch that this rank encodes."""
        return Part(self.number, self.count)

    @property
    def leads(self) -> bool:
        """Whether this rank validates and writes."""
        return self.number == 0

    def wrapped(self, towers: nn.Module) -> nn.Module:
        """A module whose backward pass adds up the gradients of all ranks."""
        return towers

    def unsynchronized(self, towers: nn.Module) -> AbstractContextManager[object]:
        """Around a forward and backward pass whose gradients are added up with those of the next one."""
        return nullcontext()

    def gathered(self, side: Fragments) -> Fragments:
        """The detached fragments of all ranks, in their order."""
        return side

    def averaged(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each tensor over the ranks."""
        return list(tensors)

    def agreed(self, value: int) -> bool:
        """Whether all ranks have the same number."""
        return True

    def wait(self) -> None:
        """Until all ranks are here."""


#: By the name that this version of torch has for it.
_BUFFERS_APART: dict[str, Any] = {
    name: False
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in inspect.signature(DistributedDataParallel).parameters
}
if len(_BUFFERS_APART) > 1:  # the second is the older one
    del _BUFFERS_APART["broadcast_buffers"]

#: A process that trains alone.
ALONE = Ranks()


class Group(Ranks):
    """One of several processes; `joined` makes it.

    Args:
        number: 0-based.
        count: of processes.
        device: that this one computes on.
    """

    def __init__(self, number: int, count: int, device: torch.device):
        self.number, self.count, self.device = number, count, device

    def wrapped(self, towers: nn.Module) -> nn.Module:
        # Unused parameters: a scorer's own may serve the scores alone, and a last chunk may have captions only.
        # Buffers are left alone: statistics of a batch normalisation are averaged once per epoch.
        reducing = DistributedDataParallel(towers, find_unused_parameters=True, **_BUFFERS_APART)
        reducing.register_comm_hook(None, _summed)  # the loss is that of the whole batch on every rank: a sum, no mean
        return reducing

    def unsynchronized(self, towers: nn.Module) -> AbstractContextManager[object]:
        assert isinstance(towers, DistributedDataParallel)
        return towers.no_sync()

    def gathered(self, side: Fragments) -> Fragments:
        names = sorted(side.extras)
        tensors = [side.features, side.mask, *(side.extras[name] for name in names)]
        parts = zip(*self._gathered(tensors), strict=True)
        return Fragments.cat(
            [
                Fragments.unchecked(features, mask, dict(zip(names, extras, strict=True)))
                for features, mask, *extras in parts
                if len(features)
            ]
        )

    def _gathered(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Of each tensor that of each rank; their shapes may differ, their numbers of axes not."""
        axes = [tensor.ndim for tensor in tensors]
        own = torch.tensor([size for tensor in tensors for size in tensor.shape], device=self.device)
        shapes = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(shapes, own)
        by_rank = [shape.split(axes) for shape in torch.stack(shapes).cpu()]
        return [
            self._gathered_padded(tensor, [tuple(sizes[place].tolist()) for sizes in by_rank])
            for place, tensor in enumerate(tensors)
        ]

    def _gathered_padded(self, values: Tensor, sizes: Sequence[tuple[int, ...]]) -> list[Tensor]:
        padded = values.new_zeros([max(axis) for axis in zip(*sizes, strict=True)])
        padded[tuple(map(slice, values.shape))] = values
        found = [torch.empty_like(padded) for _ in range(self.count)]
        dist.all_gather(found, padded)
        return [full[tuple(map(slice, size))] for full, size in zip(found, sizes, strict=True)]

    def averaged(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        means = list(tensors)
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = torch.cat([tensors[place].reshape(-1) for place in places])
            dist.all_reduce(flat)
            flat /= self.count
            for place, part in zip(places, flat.split([tensors[place].numel() for place in places]), strict=True):
                means[place] = part.view_as(tensors[place])
        return means

    def agreed(self, value: int) -> bool:
        own = torch.tensor([value, -value], device=self.device)
        dist.all_reduce(own, op=dist.ReduceOp.MAX)
        return own[0].item() == -own[1].item()

    def wait(self) -> None:
        dist.all_reduce(torch.zeros(1, device=self.device))


def _summed(_, bucket):  # no annotations: torch compares them with its types, and here they would be texts
    future = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


@contextmanager
def joined(number: int, count: int, device: torch.device, meeting: str) -> Iterator[Group]:
    """Meet the other processes of a training.

    Args:
        number: of this one, 0-based.
        count: of all.
        device: to compute on.
        meeting: a file that does not exist yet, in a folder that all of them can write to.

    Yields:
        The group. It is left at the end of the block; after an error it ends with the process.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=number,
        world_size=count,
        timeout=PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    yield Group(number, count, device)
    # Not after an error: the others would lose this one before it has said why.
    dist.destroy_process_group()
