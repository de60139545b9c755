"""All of a gallery at one moment, and the best items of an answer.

Shape letters: N items of the gallery, Q queries, k items of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.scoring.index.kept import nbytes
from harness.scoring.index.segments import Segment


@dataclass(frozen=True, eq=False)
class Hits:
    """The best items of each query, best first; of equal scores, the item that was added first.

    Args:
        scores: (Q, k) float32.
        items: (Q, k) int64 positions in the gallery.
        ids: of the same items.
    """

    scores: Tensor
    items: Tensor
    ids: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class State:
    """Distinct items in segments, and the place of each item among them; immutable.

    Args:
        segments: of the distinct items.
        ids: of the N items.
        places: (N,) int64, counted through all segments.
    """

    segments: tuple[Segment, ...] = ()
    ids: tuple[str, ...] = ()
    places: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    @property
    def kept(self) -> int:
        """Distinct items in the segments, also those that no item is any longer."""
        return sum(len(segment) for segment in self.segments)

    @property
    def width(self) -> int:
        """Of the fragments; there must be a segment."""
        return self.segments[0].items.width

    @property
    def nbytes(self) -> int:
        """Bytes of what every query is compared with."""
        return sum(nbytes(segment.items, exact=False) for segment in self.segments)

    @property
    def exact_nbytes(self) -> int:
        """Bytes of what shortlists are compared with."""
        return sum(nbytes(segment.items, exact=True) for segment in self.segments)

    def take(self, places: Tensor) -> Fragments:
        """Some of the distinct items as they are stored, padded to the longest.

        Args:
            places: (n,) int64.
        """
        starts = torch.tensor([0, *(len(segment) for segment in self.segments)]).cumsum(0)
        segment_of = torch.bucketize(places, starts[1:], right=True)
        runs = segment_of.unique_consecutive(return_counts=True)
        parts, first = [], 0
        for number, count in zip(*(values.tolist() for values in runs), strict=True):
            own = places[first : first + count] - starts[number]
            items = self.segments[number].items
            parts.append(items[own.to(items.device)])
            first += count
        return parts[0] if len(parts) == 1 else Fragments.cat(parts)

    def of_items(self, scores: Tensor) -> Tensor:
        """Scores (Q, kept) of the distinct items -> (Q, N) of all items; the same tensor where these are all, in order."""
        as_kept = len(self.places) == scores.shape[1] and torch.equal(self.places, torch.arange(len(self.places)))
        return scores if as_kept else scores[:, self.places.to(scores.device)]


def hits(scores: Tensor, items: Tensor | None, ids: Sequence[str], k: int) -> Hits:
    """The best k of each row.

    Args:
        scores: (Q, n) of some items, on the CPU; n >= k.
        items: (Q, n) int64 their positions, rising in each row; None = all items, in order.
        ids: of the gallery.
        k: number of items.
    """
    empty = torch.empty(0, k, dtype=torch.long)
    columns = torch.stack([best(row, k) for row in scores]) if len(scores) else empty
    positions = columns if items is None else items.gather(1, columns)
    names = tuple(tuple(ids[at] for at in row) for row in positions.tolist())
    return Hits(scores.gather(1, columns), positions, names)


def best(scores: Tensor, k: int) -> Tensor:
    """(k,) places of the largest scores, rising among equal ones."""
    least = scores.topk(k).values[-1]
    places = (scores >= least).nonzero().squeeze(1)
    return places[scores[places].sort(descending=True, stable=True).indices[:k]]
