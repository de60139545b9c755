"""Ragged fragments without padding: items grouped by their exact number of real fragments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.fragments import Fragments


@dataclass(frozen=True, eq=False)
class Bucket:
    """Items that all have exactly F real fragments; the vectors are gathered when asked for.

    Args:
        source: where the items come from.
        items: (n,) int64 rows of `source`.
        fragments: (n, F) int64 positions of the real fragments in the flattened `source.mask`, in their order.
        start: position of the first item among all packed items.
    """

    source: Fragments
    items: Tensor
    fragments: Tensor
    start: int

    def __len__(self) -> int:
        return len(self.items)

    @property
    def length(self) -> int:
        """F."""
        return self.fragments.shape[1]

    @property
    def size(self) -> int:
        """n * F."""
        return self.fragments.numel()

    @property
    def span(self) -> slice:
        """Positions of the items among all packed items."""
        return slice(self.start, self.start + len(self))

    def __getitem__(self, part: slice) -> Bucket:
        """Some of the items."""
        first, _, _ = part.indices(len(self))
        return Bucket(self.source, self.items[part], self.fragments[part], self.start + first)

    def rows(self) -> Tensor:
        """(n, F, D) real fragment vectors."""
        return _take(self.source.features.flatten(0, 1), self.fragments.flatten()).view(*self.fragments.shape, -1)

    def extras(self) -> Mapping[str, Tensor]:
        """The items' extras; one that has an entry for every fragment (N, F padded) is packed to (n, F)."""
        shape, items, fragments = self.source.mask.shape, self.items, self.fragments
        return {
            name: values.flatten()[fragments] if values.shape == shape else values[items]
            for name, values in self.source.extras.items()
        }


def pack(source: Fragments, items: Tensor) -> list[Bucket]:
    """Buckets of rising length that hold each of `items`, (n,) int64 rows of `source`, once; one length keeps its order.

    >>> mask = torch.tensor([[True, True], [True, False], [True, True]])
    >>> [bucket.items.tolist() for bucket in pack(Fragments(torch.ones(3, 2, 4), mask), torch.arange(3))]
    [[1], [0, 2]]
    """
    mask = source.mask[items]
    lengths, order = mask.sum(1).sort(stable=True)
    values, counts = torch.unique_consecutive(lengths, return_counts=True)
    sorted_items = items[order]
    row, position = mask[order].nonzero().unbind(1)
    fragments = sorted_items[row] * mask.shape[1] + position
    buckets, start, first = [], 0, 0
    for length, count in zip(values.tolist(), counts.tolist(), strict=True):
        part = fragments[first : first + count * length].view(count, length)
        buckets.append(Bucket(source, sorted_items[start : start + count], part, start))
        start += count
        first += count * length
    return buckets


@dataclass(frozen=True, eq=False)
class Group:
    """Parts of successive buckets, each of one length, that enter one matrix product; P fragments of n items in all."""

    parts: tuple[Bucket, ...]

    def __len__(self) -> int:
        """n."""
        return sum(len(part) for part in self.parts)

    @property
    def size(self) -> int:
        """P."""
        return sum(part.size for part in self.parts)

    @property
    def span(self) -> slice:
        """Positions of the items among all packed items."""
        return slice(self.parts[0].start, self.parts[-1].span.stop)

    def rows(self) -> Tensor:
        """(P, D) by item first."""
        return self._take([part.fragments.flatten() for part in self.parts])

    def columns(self) -> Tensor:
        """(P, D) by position first in each part, so that reductions over an item's fragments run over contiguous items."""
        return self._take([part.fragments.T.flatten() for part in self.parts])

    def each(self, values: Tensor) -> list[Tensor]:
        """(..., P) that belong to `columns` -> a view (..., L, q) of each part."""
        pieces = values.split([part.size for part in self.parts], -1)
        return [piece.unflatten(-1, (part.length, len(part))) for piece, part in zip(pieces, self.parts, strict=True)]

    def joined(self, reduce: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """(..., P) -> (..., n), where `reduce` takes (..., L, q) to (..., q)."""
        reduced = [reduce(view) for view in self.each(values)]
        return reduced[0] if len(reduced) == 1 else torch.cat(reduced, -1)

    def _take(self, fragments: list[Tensor]) -> Tensor:
        return _take(self.parts[0].source.features.flatten(0, 1), torch.cat(fragments))


def group(buckets: Sequence[Bucket], size: int) -> Iterator[Group]:
    """Parts of the buckets, joined to groups of one matrix product each: at most `size` fragments, or a single item."""
    current: list[Bucket] = []
    room = size
    for bucket in buckets:
        first = 0
        while first < len(bucket):
            if current and room < bucket.length:
                yield Group(tuple(current))
                current, room = [], size
            part = bucket[first : first + max(1, room // bucket.length)]
            current.append(part)
            first += len(part)
            room -= part.size
    if current:
        yield Group(tuple(current))


def _take(vectors: Tensor, index: Tensor) -> Tensor:
    """`vectors[index]`; a view where the index is a range, as for images that all have every region."""
    first, last = int(index[0]), int(index[-1])
    if last - first + 1 == len(index) and bool((index.diff() == 1).all()):
        return vectors[first : last + 1]
    return vectors.index_select(0, index)
