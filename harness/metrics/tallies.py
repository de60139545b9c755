"""Tallies: how many gallery items score above some scores of a query, and how many score the same, added up over tiles.

Shape letters: Q queries, N gallery items, P thresholds of all queries together, q queries and n items of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from harness.metrics.positives import Direction
from harness.metrics.sources import Tile

#: From so many thresholds per query on, a tile is sorted and searched; fewer are compared with it one after the other.
WORTH_SORTING = 12


class Kept(Protocol):
    """What is kept of the tiles of one pass."""

    @property
    def searches(self) -> bool:
        """Whether tiles will be sorted, which is faster in large ones."""

    def add(self, tile: Tile) -> None:
        """Take in the scores of a tile, in any order of the tiles."""


@dataclass(frozen=True, eq=False)
class Folds:
    """A gallery of its own for each fold: (I,) and (T,) int64, the fold of each image and of each caption."""

    images: np.ndarray
    captions: np.ndarray


class Tally:
    """Counts of one direction.

    Args:
        direction: whether images or captions ask.
        queries: (Q,) int64 rows of the asking side, each once.
        starts: (Q + 1,) int64; the thresholds of query q are `thresholds[starts[q]:starts[q + 1]]`, at least one.
        thresholds: (P,) float64.
        count: items of the asking side, queries or not.
        folds: counts items of the query's own fold only; None = all.

    Attributes:
        above, equal: (P,) int64, the counts so far.
    """

    def __init__(
        self,
        direction: Direction,
        queries: np.ndarray,
        starts: np.ndarray,
        thresholds: np.ndarray,
        count: int,
        folds: Folds | None = None,
    ):
        self.direction, self.folds = direction, folds
        self.starts, self.thresholds = torch.from_numpy(starts), torch.from_numpy(thresholds)
        self.sizes = self.starts.diff()
        self.place = torch.full((count,), -1).index_put_((torch.from_numpy(queries),), torch.arange(len(queries)))
        self.everyone = len(queries) == count
        self._above, self._equal = (torch.zeros(len(thresholds), dtype=torch.int64) for _ in range(2))
        self._fold_of = (
            [torch.from_numpy(side) for side in (folds.images, folds.captions)] if folds is not None else None
        )

    @property
    def searches(self) -> bool:
        """Whether any query has so many thresholds that its scores are sorted."""
        return int(self.sizes.max()) >= WORTH_SORTING

    @property
    def above(self) -> np.ndarray:
        return self._above.cpu().numpy()

    @property
    def equal(self) -> np.ndarray:
        return self._equal.cpu().numpy()

    def add(self, tile: Tile) -> None:
        """Count the items of a tile."""
        self._to(tile.scores.device)
        for images, captions, block in self._galleries(tile):
            asking, scores = (images, block) if self.direction == "i2t" else (captions, block.T)
            place = self.place[asking]
            if not self.everyone:
                chosen = (place >= 0).nonzero().squeeze(1)
                place, scores = place[chosen], scores[chosen]
            if len(place):
                self._count(place, scores)

    def _to(self, device: torch.device) -> None:
        """The counters stay where the tiles are."""
        if self._above.device == device:
            return
        for name in ("starts", "thresholds", "sizes", "place", "_above", "_equal"):
            setattr(self, name, getattr(self, name).to(device))
        self._fold_of = [side.to(device) for side in self._fold_of] if self._fold_of is not None else None

    def _galleries(self, tile: Tile) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The parts of a tile in which queries meet their own gallery: the whole of it, or one for each fold."""
        if self._fold_of is None:
            yield tile.images, tile.captions, tile.scores
            return
        of_images, of_captions = self._fold_of[0][tile.images], self._fold_of[1][tile.captions]
        for fold in torch.unique(of_images):
            rows, columns = ((side == fold).nonzero().squeeze(1) for side in (of_images, of_captions))
            if len(columns):
                yield tile.images[rows], tile.captions[columns], tile.scores[rows][:, columns]

    def _count(self, place: Tensor, scores: Tensor) -> None:
        """(q,) places of queries and their (q, n) scores."""
        most = int(self.sizes[place].max())
        if most == 1:
            self._compare(self.starts[place], scores)
        elif most < WORTH_SORTING:
            for number in range(most):
                rows = (self.sizes[place] > number).nonzero().squeeze(1)
                self._compare(self.starts[place[rows]] + number, scores[rows])
        else:
            self._search(place, scores, most)

    def _compare(self, which: Tensor, scores: Tensor) -> None:
        """One threshold each."""
        threshold = self.thresholds[which, None].to(scores.dtype)
        self._above.index_add_(0, which, (scores > threshold).sum(1))
        self._equal.index_add_(0, which, (scores == threshold).sum(1))

    def _search(self, place: Tensor, scores: Tensor, most: int) -> None:
        """Many thresholds each: all of them in the sorted scores, filled up to the largest number of any query."""
        rising = _rising(scores)
        number = torch.arange(most, device=place.device)
        real = number < self.sizes[place, None]
        which = torch.where(real, self.starts[place, None] + number, 0)
        thresholds = self.thresholds[which].to(rising.dtype)
        right = torch.searchsorted(rising, thresholds, right=True)
        self._above.index_add_(0, which[real], (rising.shape[1] - right)[real])
        self._equal.index_add_(0, which[real], (right - torch.searchsorted(rising, thresholds))[real])


def _rising(scores: Tensor) -> Tensor:
    """Each row sorted. On a processor numpy's sort is many times as fast; half precision becomes float32, exactly."""
    scores = scores if scores.dtype == torch.float64 else scores.float()
    if scores.device.type != "cpu":
        return scores.sort(1).values
    return torch.from_numpy(np.sort(scores.contiguous().numpy(), axis=1))
