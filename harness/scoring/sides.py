"""One side of a gallery as the engine reads it: its distinct items, in memory or elsewhere.

Shape letters: N items, U distinct ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property

from torch import Tensor

from harness.fragments import Fragments
from harness.scoring.distinct import Distinct, distinct

#: Items of a part at least: of fewer, matrix libraries add in another order, see `harness.scoring.plain.SMALLEST_CALL`.
SMALLEST_PART = 16


class Side(ABC):
    """N items, of which U are distinct; those are kept in an order of their own.

    Attributes:
        found: which of the kept items each item equals: `found.copy_of` (N,), `found.first` (U,).
    """

    found: Distinct

    @abstractmethod
    def parts(self, budget: int) -> Iterator[slice]:
        """Consecutive kept items that together cover all; a part is read in at most `budget` bytes, or is a few items."""

    @abstractmethod
    def read(self, part: slice) -> Fragments:
        """Consecutive kept items."""

    @abstractmethod
    def take(self, places: Tensor) -> Fragments:
        """Some kept items, (n,) int64, by their places."""

    @property
    @abstractmethod
    def item_bytes(self) -> int:
        """Of the largest kept item in memory, padding included."""

    def __len__(self) -> int:
        """N."""
        return len(self.found.copy_of)

    @property
    def kept(self) -> int:
        """U."""
        return len(self.found.first)


class SideInMemory(Side):
    """Fragments of N items, on any device."""

    def __init__(self, fragments: Fragments):
        self._given = fragments

    @cached_property
    def found(self) -> Distinct:  # type: ignore[override]
        return distinct(self._given)

    @cached_property
    def _kept(self) -> Fragments:
        return self._given[self.found.first.to(self._given.device)] if self.found.repeats else self._given

    def parts(self, budget: int) -> Iterator[slice]:
        """One part: nothing has to be read."""
        yield slice(0, self.kept)

    def read(self, part: slice) -> Fragments:
        return self._kept if part == slice(0, self.kept) else self._kept[part]

    def take(self, places: Tensor) -> Fragments:
        return self._kept[places.to(self._kept.device)]

    @property
    def item_bytes(self) -> int:
        return bytes_of(self._given) // len(self._given)


def side_of(fragments: Fragments | Side) -> Side:
    """Fragments as a side; a side as it is."""
    return fragments if isinstance(fragments, Side) else SideInMemory(fragments)


def bytes_of(fragments: Fragments) -> int:
    """Bytes of features, mask and extras, padding included."""
    tensors = (fragments.features, fragments.mask, *fragments.extras.values())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
