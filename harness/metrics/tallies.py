"""Tallies: how many gallery items score above some scores of a query, and how many score the same, added up over tiles.

Shape letters: Q queries, N gallery items, P thresholds of all queries together, q queries and n items of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from harness.metrics.operations import arrays
from harness.metrics.operations.choice import Operations, Values, operations_for
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
        self.thresholds = thresholds
        self.everyone = len(queries) == count
        place = np.full(count, -1)
        place[queries] = np.arange(len(queries))
        counters = (np.zeros(len(thresholds), np.int64) for _ in range(2))
        self._work: Operations = arrays
        self._starts: Values = starts
        self._sizes: Values = np.diff(starts)
        self._place: Values = place
        self._thresholds: Values = thresholds
        self._above: Values
        self._equal: Values
        self._above, self._equal = counters
        self._image_fold: Values = folds.images if folds is not None else None
        self._caption_fold: Values = folds.captions if folds is not None else None

    @property
    def searches(self) -> bool:
        """Whether any query has so many thresholds that its scores are sorted."""
        return int(self._sizes.max()) >= WORTH_SORTING

    @property
    def above(self) -> np.ndarray:
        return self._work.as_array(self._above)

    @property
    def equal(self) -> np.ndarray:
        return self._work.as_array(self._equal)

    def add(self, tile: Tile) -> None:
        """Count the items of a tile."""
        self._stay_with(tile.scores)
        for images, captions, block in self._galleries(tile):
            asking, scores = (images, block) if self.direction == "i2t" else (captions, block.T)
            place = self._place[asking]
            if not self.everyone:
                chosen = self._work.true_places(place >= 0)
                place, scores = place[chosen], scores[chosen]
            if len(place):
                self._count(place, scores)

    def _stay_with(self, scores: Values) -> None:
        """The counters stay where the tiles are."""
        work = operations_for(scores)
        if work is self._work and work.home(self._above) == work.home(scores):
            return
        for name in ("_starts", "_sizes", "_place", "_thresholds", "_above", "_equal", "_image_fold", "_caption_fold"):
            values = getattr(self, name)
            if values is not None:
                setattr(self, name, work.moved(self._work.as_array(values), scores))
        self._work = work

    def _galleries(self, tile: Tile) -> Iterator[tuple[Values, Values, Values]]:
        """The parts of a tile in which queries meet their own gallery: the whole of it, or one for each fold."""
        if self._image_fold is None or self._caption_fold is None:
            yield tile.images, tile.captions, tile.scores
            return
        of_images, of_captions = self._image_fold[tile.images], self._caption_fold[tile.captions]
        for fold in self._work.distinct(of_images):
            rows, columns = (self._work.true_places(side == fold) for side in (of_images, of_captions))
            if len(columns):
                yield tile.images[rows], tile.captions[columns], tile.scores[rows][:, columns]

    def _count(self, place: Values, scores: Values) -> None:
        """(q,) places of queries and their (q, n) scores."""
        most = int(self._sizes[place].max())
        if most == 1:
            self._compare(self._starts[place], scores)
        elif most < WORTH_SORTING:
            for number in range(most):
                rows = self._work.true_places(self._sizes[place] > number)
                self._compare(self._starts[place[rows]] + number, scores[rows])
        else:
            self._search(place, scores, most)

    def _compare(self, which: Values, scores: Values) -> None:
        """One threshold each; none is named twice."""
        threshold = self._work.as_type_of(self._thresholds[which, None], scores)
        self._above[which] += self._work.true_counts(scores > threshold)
        self._equal[which] += self._work.true_counts(scores == threshold)

    def _search(self, place: Values, scores: Values, most: int) -> None:
        """Many thresholds each: all of them in the sorted scores, filled up to the largest number of any query."""
        rising = self._work.rising(scores)
        number = self._work.moved(np.arange(most), place)
        real = number < self._sizes[place, None]
        which = self._work.selected(real, self._starts[place, None] + number, 0)
        thresholds = self._work.as_type_of(self._thresholds[which], rising)
        right = self._work.places_in(rising, thresholds, right=True)
        self._above[which[real]] += (rising.shape[1] - right)[real]
        self._equal[which[real]] += (right - self._work.places_in(rising, thresholds, right=False))[real]
