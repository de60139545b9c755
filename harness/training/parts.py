"""Which part of a batch each of several processes encodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One of `count` parts of equal size, give or take one item; `Part()` is the whole.

    >>> [Part(number, 2).real(5) for number in range(2)]
    [range(0, 3), range(3, 5)]
    """

    number: int = 0
    count: int = 1

    def real(self, items: int) -> range:
        """The places that belong to this part; empty where there are fewer items than parts."""
        size, larger = divmod(items, self.count)
        start = size * self.number + min(self.number, larger)
        return range(start, start + size + (self.number < larger))

    def taken(self, items: int) -> slice:
        """The places that are read and encoded: those that belong to the part, and one that does not where it is empty,
        since an encoder needs something to encode.

        >>> Part(2, 3).real(2), Part(2, 3).taken(2)
        (range(2, 2), slice(0, 1, None))
        """
        real = self.real(items)
        return slice(real.start, real.stop) if real else slice(0, 1)
