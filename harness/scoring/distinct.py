"""Which items of a side are equal, so that each is scored once: equal items then have equal scores, to the last bit.

Equal means: the same real fragments at the same positions and the same extras, byte for byte. What stands at padded
positions does not count.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.fragments import Fragments

#: Columns of each fragment by which items that cannot be equal are told apart.
SAMPLED_COLUMNS = 8
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct items of a side.

    Args:
        first: (U,) int64, the first of each set of equal items.
        copy_of: (N,) int64, the position in `first` of each item.
    """

    first: Tensor
    copy_of: Tensor

    @property
    def repeats(self) -> bool:
        """Whether any item occurs twice."""
        return len(self.first) < len(self.copy_of)

    @cached_property
    def as_given(self) -> bool:
        """Whether the distinct items are all items, in their own order."""
        return not self.repeats and torch.equal(self.copy_of, torch.arange(len(self.copy_of)))

    def copies(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """All items that equal some of the distinct ones.

        Args:
            items: (u,) int64 positions in `first`.

        Returns:
            (m,) rows of the side, rising, and (m,) the position in `items` that each equals.
        """
        place = torch.full((len(self.first),), -1).index_put_((items,), torch.arange(len(items)))
        of_all = place[self.copy_of]
        rows = (of_all >= 0).nonzero().squeeze(1)
        return rows, of_all[rows]


def distinct(side: Fragments) -> Distinct:
    """Find the equal items of a side.

    A hash of a few columns leaves most sides without a candidate; candidates are compared by a digest of all bytes.

    >>> side = Fragments(torch.tensor([[[1.0]], [[2.0]], [[1.0]]]), torch.ones(3, 1, dtype=torch.bool))
    >>> distinct(side).copy_of.tolist()
    [0, 1, 0]
    """
    count = len(side)
    copy_of, first = torch.arange(count), torch.ones(count, dtype=torch.bool)
    _, inverse, counts = torch.unique(_sampled_hash(side), return_inverse=True, return_counts=True)
    candidates = (counts[inverse] > 1).nonzero().squeeze(1)
    some = side[candidates.to(side.device)].to("cpu")
    seen: dict[bytes, int] = {}
    for place, item in enumerate(candidates.tolist()):
        original = seen.setdefault(digest(some, place), item)
        copy_of[item], first[item] = original, original == item
    return Distinct(first.nonzero().squeeze(1), (first.cumsum(0) - 1)[copy_of])


def digest(side: Fragments, item: int) -> bytes:
    """16 bytes of all that a score may depend on: equal for equal items, and different for others as surely as BLAKE2b is."""
    mask = side.mask[item]
    parts = [side.features[item][mask], mask[: int(mask.nonzero()[-1]) + 1]]
    for name in sorted(side.extras):
        values = side.extras[name]
        parts.append(values[item][mask] if values.shape == side.mask.shape else values[item])
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() + b"|")
    return found.digest()


def _sampled_hash(side: Fragments) -> Tensor:
    """(N,) int64 on the CPU, equal for equal items: a sum of integers with random weights, the same in any order."""
    features = side.features.detach()
    columns = features[..., :: max(1, side.width // SAMPLED_COLUMNS)].contiguous()
    values = columns.view(_INTEGERS[features.element_size()]).long()
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(-(2**62), 2**62, values.shape[1:], generator=generator).to(values.device)
    return (values * weights).masked_fill(~side.mask[..., None], 0).sum((1, 2)).cpu()
