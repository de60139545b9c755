"""Which items of a side are equal, so that each is scored once: equal items then have equal scores, to the last bit.

Equal means: the same real fragments at the same positions and the same extras, byte for byte. What stands at padded
positions does not count.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.fragments import Fragments

#: Columns of each fragment by which items that cannot be equal are told apart.
SAMPLED_COLUMNS = 8
#: Multipliers of the sampled hash, odd and without a pattern.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct items of a side.

    Args:
        first: (U,) int64 rising, the first of each set of equal items.
        copy_of: (N,) int64, the position in `first` of each item.
    """

    first: Tensor
    copy_of: Tensor

    @property
    def repeats(self) -> bool:
        """Whether any item occurs twice."""
        return len(self.first) < len(self.copy_of)

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

    A hash of a few columns leaves most sides without a candidate; candidates are compared by a digest of all bytes, and
    then byte by byte.
    """
    count = len(side)
    copy_of, first = torch.arange(count), torch.ones(count, dtype=torch.bool)
    candidates = _candidates(_sampled_hash(side))
    some = side[candidates.to(side.device)].to("cpu")
    seen: dict[bytes, int] = {}
    for place, item in enumerate(candidates.tolist()):
        content = _content(some, place)
        original = seen.setdefault(_digest(content), place)
        if original != place and _content(some, original) == content:
            copy_of[item], first[item] = int(candidates[original]), False
    return Distinct(first.nonzero().squeeze(1), (first.cumsum(0) - 1)[copy_of])


def digest(side: Fragments, item: int) -> bytes:
    """16 bytes that are equal for equal items, and different for others as surely as BLAKE2b is."""
    return _digest(_content(side, item))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _sampled_hash(side: Fragments) -> Tensor:
    """(N,) int64 on the CPU, equal for equal items."""
    features, mask = side.features.detach(), side.mask
    step = max(1, side.width // SAMPLED_COLUMNS)
    values = features[..., ::step].contiguous().view(_INTEGERS[features.element_size()]).long()
    factors = [_signed(factor) for factor in _FACTORS]
    columns = torch.arange(1, values.shape[2] + 1, device=values.device) * factors[0] | 1
    positions = torch.arange(1, values.shape[1] + 1, device=values.device) * factors[1] | 1
    of_fragments = _mixed((values * columns).sum(2)) * positions
    return (of_fragments.masked_fill(~mask, 0).sum(1) + mask.sum(1) * factors[2]).cpu()


def _mixed(values: Tensor) -> Tensor:
    """Spread the bits: equal sums of different summands stay rare."""
    values = (values ^ (values >> 29)) * _signed(_FACTORS[1])
    return values ^ (values >> 32)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _candidates(hashes: Tensor) -> Tensor:
    """(m,) items, rising, whose hash another one has too."""
    _, inverse, counts = torch.unique(hashes, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1).nonzero().squeeze(1)


def _content(side: Fragments, item: int) -> bytes:
    """All that a score may depend on."""
    mask = side.mask[item]
    extent = int(mask.nonzero()[-1]) + 1
    parts = [_bytes(side.features[item][mask]), _bytes(mask[:extent])]
    for name in sorted(side.extras):
        values = side.extras[name]
        parts.append(_bytes(values[item][mask] if values.shape == side.mask.shape else values[item]))
    return b"|".join(parts)


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
